"""The folder of the home in which catalogs were registered before they were kept in the store.

What is put there is registered by itself, unchecked, as it always was: the next run of that catalog checks it.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from configs.settings import Settings
from models.visible_files import visible_files
from ops.catalog.decoding import decoded
from ops.catalog.document import read_terms
from ops.catalog.endings import MAX_BYTES
from ops.catalog.pictures import CatalogPicture, FolderFiles
from ops.catalog.problems import ProblemList
from ops.catalog.reading import catalog_digest, is_name
from ops.catalog.registered import RegisteredCatalogs, Registration
from ops.catalog.rows import NO_TERMS, CatalogTerms
from ops.catalog.yaml_file import YamlMapping, YamlSyntaxError, read_yaml
from resources.audit import open_audit, this_person
from resources.object_store import ObjectStore
from resources.shared_folder import refresh_marks
from resources.taken_files import TakenFiles

_RETIRED = "retired"
_YAML = (".yaml", ".yml")
_OBJECT_KEY = re.compile(r"(?:pictures|uploads|inputs|\d{8})/[^\s,;\"'\]}]+")


def open_catalogs(settings: Settings, store: ObjectStore, who: str = "") -> RegisteredCatalogs:
    """The registered catalogs of a store, what is new or has changed in `settings.catalog_folder` among them.

    Where files have not been taken from that folder before, the store's own catalogs, registered or retired, stay.

    Args:
        who: changes them, for the audit log; by default who runs this process.
    """
    note = partial(open_audit(settings).record, who=who or this_person())
    catalogs = RegisteredCatalogs(store, renew_after_s=settings.retention.orphan_hours * 3600 / 2, note=note)
    refresh_marks(settings)  # checking rows draws their texts
    if settings.catalog_folder.is_dir():
        _take_over(settings, catalogs)
    return catalogs


def catalog_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(catalog, file) of each file in a folder that is named like a catalog, in order."""
    for file in visible_files(folder):
        if file.suffix.lower() in MAX_BYTES and is_name(name := _catalog(file)):
            yield name, file


def _take_over(settings: Settings, catalogs: RegisteredCatalogs) -> None:
    folder = settings.catalog_folder
    taken = TakenFiles(settings.home, "catalogs", settings.store)
    registered = list(taken.news(folder, (file for _, file in catalog_files(folder))))
    retired = list(taken.news(folder, (file for _, file in catalog_files(folder / _RETIRED))))
    if not registered and not retired:
        return
    known, shipped = {*catalogs.names(), *catalogs.retired_names()}, _shipped(settings.home)
    for place, file, mark in registered:
        if place in taken or _catalog(file) not in known:
            catalogs.keep(*_earlier(file, shipped))
        taken.marks[place] = mark
    for place, file, mark in retired:
        if _catalog(file) not in known:
            catalogs.keep_retired(_earlier(file, {})[0])
        taken.marks[place] = mark
    taken.keep()


def _catalog(file: Path) -> str:
    return unicodedata.normalize("NFC", file.stem)


def _earlier(file: Path, shipped: dict[str, str]) -> tuple[Registration, bytes, list[CatalogPicture]]:
    """What was registered, as it was: whether it is still right shows when it is made."""
    name, content = _catalog(file), file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    pictures = list(_pictures(file.parent, name))
    registration = Registration(
        name,
        f"{name}{file.suffix.lower()}",
        digest,
        catalog_digest(content, pictures),
        {picture.reference: picture.digest for picture in pictures},
        tuple(sorted(set(_OBJECT_KEY.findall(content.decode("utf-8", "replace"))))),
        shipped=shipped.get(name) == digest,
        **vars(_terms(file, content)),
    )
    return registration, content, pictures


def _pictures(folder: Path, name: str) -> Iterator[CatalogPicture]:
    files, own = FolderFiles(folder, name), folder / f"{name}.pictures"
    for file in visible_files(own, deep=True):
        if picture := files.find(file.relative_to(own).as_posix()):
            yield picture


def _terms(file: Path, content: bytes) -> CatalogTerms:
    """When a catalog is made by itself, as its file says; nothing if that cannot be read."""
    problems = ProblemList()
    with suppress(YamlSyntaxError):
        document = read_yaml(decoded(content, problems)) if file.suffix.lower() in _YAML else None
        if isinstance(document, YamlMapping) and not problems.total:
            terms = read_terms(document, problems)
            return NO_TERMS if problems.total else terms
    return NO_TERMS


def _shipped(home: Path) -> dict[str, str]:
    """The sha256 of the shipped catalogs that an earlier version registered as they came."""
    try:
        copied: dict[str, str] = json.loads((home / "cache" / "shipped_catalogs.json").read_text(encoding="utf-8"))
        return copied
    except (OSError, ValueError):
        return {}
