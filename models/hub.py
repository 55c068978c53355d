"""Models fetched from a hub or a store: pinned, resumable, every file checked, safetensors and text only."""

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.private_folder import make_private
from models.errors import ModelLoadError
from models.family_table import FAMILIES
from models.hub_repository import hub_repository
from models.model_files import INDEX, has_weights, index_parts, variant_of
from models.remote_files import OnBytes, RemotePart, Repository, download
from models.store_repository import OpenPlace, is_place, store_repository

if TYPE_CHECKING:
    from models.card import ModelCard

_TEXT = (".json", ".txt", ".jinja", ".model")
"""Configurations, vocabularies (also those of SentencePiece) and templates of prompts."""


def fetch_missing(card: "ModelCard", on_bytes: OnBytes | None = None) -> None:
    """Fetch what a card names by hub id or place in a store and is not here yet; LoRAs too.

    Without a network it takes seconds to say so. Safe for processes: the second one waits for the first. A folder
    appears under its name only when all its files are here and checked; files that came in half stay beside it and are
    continued.

    Raises:
        ModelLoadError: if it cannot be had; the text says why and what to do.
    """
    unused = FAMILIES[card.family].unused_parts
    for part in card.remote_parts():
        fetch_part(part, card.open_place, unused, on_bytes)


def is_missing(card: "ModelCard") -> bool:
    """Whether something that `fetch_missing` fetches is not here yet."""
    return any(not part.is_here for part in card.remote_parts())


def fetch_part(
    part: RemotePart, open_place: OpenPlace | None, unused: Iterable[str] = (), on_bytes: OnBytes | None = None
) -> None:
    """Fetch one part of a model, as `fetch_missing` does, unless it is here."""
    if part.is_here:
        return
    unfinished = part.folder.with_suffix(".part")
    make_private(unfinished)
    with _locked(part.folder.with_suffix(".lock")):
        if part.folder.is_dir():
            return
        with _repository(part, open_place) as repository:
            _fetch_files(repository, unfinished, unused, on_bytes)
        unfinished.rename(part.folder)


def _repository(part: RemotePart, open_place: OpenPlace | None) -> AbstractContextManager[Repository]:
    if is_place(part.source):
        return store_repository(part.source, part.revision, open_place)
    return hub_repository(part.source, part.revision)


def _fetch_files(repository: Repository, folder: Path, unused: Iterable[str], on_bytes: OnBytes | None) -> None:
    files = repository.files()
    index = None
    if INDEX in files:
        index = json.loads(download(repository, files[INDEX], folder, on_bytes).read_bytes())
    names = [*files] if repository.is_file else wanted_files(files, index, unused, repository.source)
    wanted = [files[path] for path in names]
    missing_bytes = sum(file.size_bytes for file in wanted if not (folder / file.path).exists())
    if missing_bytes > (free_bytes := shutil.disk_usage(folder).free):
        raise ModelLoadError(
            f"{repository.source} needs {missing_bytes / 1e9:.1f} GB, but {folder} has {free_bytes / 1e9:.1f} GB free."
        )
    for file in wanted:
        download(repository, file, folder, on_bytes)


def wanted_files(
    paths: Iterable[str], index: Mapping[str, Any] | None, unused: Iterable[str], source: str
) -> list[str]:
    """The files of a repository that are needed: configurations, vocabularies and one set of weights per part.

    The plain weights or, of a part that has none, a variant of them (`fp16`).

    Args:
        index: the content of `model_index.json`; None for a repository that is a single network.
        unused: parts to leave out.
    Raises:
        ModelLoadError: if a part has no weights in safetensors.
    """
    parts = {"": source} if index is None else {INDEX: ""} | index_parts(index, unused)
    wanted: list[str] = []
    for part, kind in parts.items():
        inside = [path for path in paths if path == part or Path(path).parent == Path(part)]
        found = {path: variant for path in inside if (variant := variant_of(Path(path).name)) is not None}
        kept = min(found.values(), default=None)
        chosen = [path for path in inside if path.endswith(_TEXT) or (path in found and found[path] == kept)]
        if kind and not found and has_weights(kind):
            raise ModelLoadError(f"{source} has no weights (.safetensors) for {part or 'its network'}; ask for another")
        wanted += chosen
    return sorted(wanted)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
