"""Editions of a catalog: all of its pictures anew, with new seeds, and the previous ones kept beside them.

Who wants a new edition says so once (`request_edition`); every run of the catalog from then on makes that edition, so a
run that fails half-way is simply run again. Before the first new picture, the manifests and the gallery of the edition
there is are copied to `editions/<catalog>@<number>/`, where they stay until newer ones are complete and retention
lets them go. Pictures are stored under their recipes, so the copies cost no pictures.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from io_managers.image_set import manifest_key
from ops.gallery_page import contact_sheet_key, gallery_key
from resources.dagster_names import IMAGE_SETS
from resources.object_store import ObjectNotFoundError, ObjectStore
from resources.stored_json import get_json, put_json

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "editions/"
_KNOWN_CHANGES = 200
_PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Wanted:
    """The edition that runs make, and who asked for it: asking again under the same name changes nothing.

    Attributes:
        rows: how often single rows of it were given new seeds, by row id; `rows_asked_by`: by whom last.
        seeds: the edition whose seeds it has; -1 for its own.
        fixed: the seeds of single rows, by row id, before `rows` counts.
        texts: the prompts of single rows, each with that of the file which it replaces: another one there wins.
        changes: the ids of the last changes that people asked for.
    """

    edition: int = 0
    asked_by: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    rows_asked_by: str = ""
    seeds: int = -1
    fixed: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changes: Sequence[str] = ()

    @property
    def seed_edition(self) -> int:
        """The edition whose seeds it has."""
        return self.edition if self.seeds < 0 else self.seeds

    def changed(self, row: str, change: "RowChange") -> "Wanted":
        """With another seed or prompt of one row."""
        rows, fixed, texts = dict(self.rows), dict(self.fixed), dict(self.texts)
        if change.seed is not None:
            fixed[row] = change.seed
            rows.pop(row, None)
        elif change.reseed:
            rows[row] = rows.get(row, 0) + 1
        if change.text is not None:
            edited, of_file = texts.pop(row, (change.shown, change.shown))
            of_file = of_file if edited == change.shown else change.shown
            if change.text != of_file:
                texts[row] = (change.text, of_file)
        return replace(self, rows=rows, fixed=fixed, texts=texts)


@dataclass(frozen=True)
class RowChange:
    """What somebody wants of one row's next picture: this seed, or a new one, and another prompt than the one shown."""

    seed: int | None = None
    reseed: bool = False
    text: str | None = None
    shown: str = ""


@dataclass(frozen=True)
class Made:
    """The edition whose gallery is shown, and the earlier ones that are kept, oldest first."""

    edition: int = 0
    kept: tuple[int, ...] = ()


def wanted_edition(store: ObjectStore, catalog: str) -> Wanted:
    """The edition that the next run of a catalog makes; 0 until another is asked for."""
    return Wanted(**(get_json(store, _wanted_key(catalog)) or {}))


def made_edition(store: ObjectStore, catalog: str) -> Made:
    """The edition that is complete."""
    record = get_json(store, _made_key(catalog))
    return Made(record["edition"], tuple(record["kept"])) if record else Made()


def request_edition(store: ObjectStore, catalog: str, asked_by: str) -> int:
    """Ask for a new edition, and return its number; one that was asked for by the same name is that one.

    Nothing is added to an edition with new seeds that is not complete: it is itself still to be made.
    """
    wanted = wanted_edition(store, catalog)
    if wanted.asked_by == asked_by:
        return wanted.edition
    is_new = wanted.edition != made_edition(store, catalog).edition
    if not is_new or wanted.seed_edition != wanted.edition:
        number = wanted.edition if is_new else wanted.edition + 1
        wanted = Wanted(number, asked_by, texts=wanted.texts, changes=wanted.changes)
        put_json(store, _wanted_key(catalog), asdict(wanted))
    return wanted.edition


def request_changes(store: ObjectStore, catalog: str, changes: Mapping[str, RowChange], asked_by: str) -> int:
    """Ask for an edition in which these rows are others, and return its number; the same id changes nothing again.

    Changes join an edition that is not complete; the others keep their seeds.
    """
    wanted = wanted_edition(store, catalog)
    if asked_by in wanted.changes:
        return wanted.edition
    if wanted.edition == made_edition(store, catalog).edition:
        wanted = replace(wanted, edition=wanted.edition + 1, seeds=wanted.seed_edition)
    for row, change in changes.items():
        wanted = wanted.changed(row, change)
    known = (*wanted.changes, asked_by)[-_KNOWN_CHANGES:]
    put_json(store, _wanted_key(catalog), asdict(replace(wanted, changes=known)))
    return wanted.edition


def request_rows(store: ObjectStore, catalog: str, rows: Iterable[str], asked_by: str) -> None:
    """Ask for new seeds of some rows of the edition, for good; asking again under the same name changes nothing."""
    wanted = wanted_edition(store, catalog)
    if wanted.rows_asked_by != asked_by:
        counts = {**wanted.rows, **{row: wanted.rows.get(row, 0) + 1 for row in rows}}
        put_json(store, _wanted_key(catalog), asdict(replace(wanted, rows=counts, rows_asked_by=asked_by)))


def begin_edition(store: ObjectStore, catalog: str) -> int:
    """The edition that a run makes; what there is of another one is copied first."""
    wanted, made = wanted_edition(store, catalog).edition, made_edition(store, catalog)
    if wanted != made.edition and made.edition not in made.kept:
        for source, target, content_type in _copies(catalog, made.edition):
            with suppress(ObjectNotFoundError):
                store.put(target, store.get(source), content_type=content_type)
        put_json(store, _made_key(catalog), asdict(Made(made.edition, (*made.kept, made.edition))))
    return wanted


def finish_edition(store: ObjectStore, catalog: str, *, keep: int) -> None:
    """Note that the edition that was begun is complete, and remove the oldest copies beyond `keep` editions in all.

    One that was asked for since the run began has not been begun: there is no copy of the edition before it yet.
    """
    wanted, made = wanted_edition(store, catalog).edition, made_edition(store, catalog)
    if wanted == made.edition or made.edition not in made.kept:
        return
    kept = made.kept[max(0, len(made.kept) - (keep - 1)) :]
    # Copies that are no longer noted would stay for ever, so they go first.
    for edition in made.kept[: len(made.kept) - len(kept)]:
        for _, target, _ in _copies(catalog, edition):
            store.delete(target)
    put_json(store, _made_key(catalog), asdict(Made(wanted, kept)))


def surplus_editions(store: ObjectStore, catalog: str, *, keep: int) -> tuple[int, ...]:
    """The kept editions beyond `keep` in all, oldest first; none while a new edition is being made."""
    wanted, made = wanted_edition(store, catalog).edition, made_edition(store, catalog)
    return made.kept[: max(0, len(made.kept) - (keep - 1))] if wanted == made.edition else ()


def forget_editions(store: ObjectStore, catalog: str, gone: Sequence[int]) -> None:
    """Note that copies of these editions are no longer kept."""
    made = made_edition(store, catalog)
    kept = tuple(edition for edition in made.kept if edition not in gone)
    put_json(store, _made_key(catalog), asdict(Made(made.edition, kept)))


def edited(table: "pd.DataFrame", wanted: Wanted) -> "pd.DataFrame":
    """A catalog's table with the prompts that were edited, as far as the file still has those which they replace."""
    if not wanted.texts:
        return table

    def text(row_id: str, own: str) -> str:
        new, of_file = wanted.texts.get(row_id, (own, own))
        return new if own == of_file else own

    return table.assign(text=[text(str(row), str(own)) for row, own in zip(table["id"], table["text"], strict=True)])


def reseeded(table: "pd.DataFrame", wanted: Wanted) -> "pd.DataFrame":
    """A catalog's table with the seeds of an edition; those of edition 0 are the catalog's own."""
    edition, counts = wanted.seed_edition, wanted.rows
    if not (edition or counts or wanted.fixed):
        return table

    def seed(row_id: str, own: int) -> int:
        first = wanted.fixed.get(row_id, edition_seed(own, edition) if edition else own)
        return edition_seed(first, counts[row_id]) if row_id in counts else first

    return table.assign(seed=[seed(str(row), int(own)) for row, own in zip(table["id"], table["seed"], strict=True)])


def edition_seed(seed: int, edition: int) -> int:
    """The seed of a row in an edition: stable, 0 to 2³²-1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{edition}".encode()).digest()[:4], "big")


def edition_folder(catalog: str, edition: int) -> str:
    """Where an edition's copies are: as deep as galleries, whose pages link to pictures by relative paths."""
    return f"{FOLDER}{catalog}@{edition}/"


def _copies(catalog: str, edition: int) -> list[tuple[str, str, str]]:
    """(source, target, content type) of all that is kept; the page last, so that it never lacks what it shows."""
    folder = edition_folder(catalog, edition)
    sets = [(manifest_key(asset, catalog), f"{folder}{asset}.parquet", _PARQUET) for asset in IMAGE_SETS]
    sheet = (contact_sheet_key(catalog), f"{folder}contact_sheet.png", "image/png")
    return [*sets, sheet, (gallery_key(catalog), f"{folder}index.html", "text/html; charset=utf-8")]


def _wanted_key(catalog: str) -> str:
    return f"{FOLDER}{catalog}@wanted.json"


def _made_key(catalog: str) -> str:
    return f"{FOLDER}{catalog}@made.json"
