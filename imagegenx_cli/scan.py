"""`imagegenx models scan`."""

from pathlib import Path

from imagegenx_cli.terminal import print_json, say, say_table
from models.errors import ModelLoadError
from models.file_kinds import FileKind, Kind, file_kind, weight_files
from models.scanned_cards import pipeline_kind, told_problem, written_cards


def scan(folder: Path, write: Path | None, *, as_json: bool) -> None:
    """Print a line for each file of weights in a folder: kind, base, and whether it works here or why not.

    Headers alone are read, so that hundreds of files take seconds.

    Args:
        write: a folder for the cards of what works; None writes none.
    """
    try:
        found = {path: _kind(path) for path in weight_files(folder)}
    except OSError as exc:
        raise ModelLoadError(f"folder {folder} cannot be read: {exc.strerror}. Name a folder of models.") from exc
    cards = written_cards(found, write) if write else {}
    if as_json:
        print_json([_entry(path, kind, cards.get(path)) for path, kind in found.items()])
        return
    rows = [["file", "kind", "base", "works"]]
    rows += [
        [str(path.relative_to(folder)), kind.kind, kind.base or "", kind.reason or _works(kind)]
        for path, kind in found.items()
    ]
    say_table(rows)
    for card in cards.values():
        say(f"wrote {card}")


def _works(kind: FileKind) -> str:
    return f"yes, in a card's `{kind.field}`" if kind.field else "yes"


def _kind(path: Path) -> FileKind:
    if path.is_dir():
        return pipeline_kind(path)
    kind = file_kind(path)
    if kind.kind is Kind.CHECKPOINT and not kind.reason and (problem := told_problem(path)):
        return FileKind(kind.kind, kind.base, problem)
    return kind


def _entry(path: Path, kind: FileKind, card: Path | None) -> dict[str, object]:
    return {
        "file": str(path),
        "kind": kind.kind,
        "base": kind.base,
        "works": not kind.reason,
        "reason": kind.reason or None,
        "card_field": kind.field or None,
        "size_bytes": None if path.is_dir() else path.stat().st_size,
        "card": str(card) if card else None,
    }
