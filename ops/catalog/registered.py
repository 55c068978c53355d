"""Registered catalogs, which live in the object store: any machine makes them, whatever its home folder holds.

The file of a catalog and the files it names are kept by their content (`inputs/<sha256>`); one small record, written
last, says which contents are the catalog. A reader thus sees the catalog before a change or after it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import told
from foundation.map_ahead import map_ahead
from io_managers.reuse import keep_all
from ops.catalog.document import REVIEW_KEYS, read_hours, read_review, read_schedule, unknown_keys
from ops.catalog.inside import LeadsOutError
from ops.catalog.pictures import INPUTS, CatalogPicture, FolderFiles, StoredFiles
from ops.catalog.problems import CatalogError, ProblemList
from ops.catalog.reading import Catalog, catalog_content, catalog_name, check_catalog, is_name
from ops.catalog.rows import NO_REVIEW, CatalogSchedule, ReviewPolicy
from ops.catalog.yaml_file import YamlMapping
from resources.audit import AuditEvent
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore, StoredObject

if TYPE_CHECKING:
    from models.registry import ModelRegistry

REGISTERED = "registry/catalogs/"
RETIRED = "registry/retired/"
"""Prefixes of the records of catalogs that are made, and of those that are no longer."""

_REMEMBERED = 50_000
_known: dict[tuple[str, str], "Registration"] = {}
"""Records by key and etag, for the sensors of this process, which look every few seconds."""


@dataclass(frozen=True)
class Registration:
    """What is known of a registered catalog without reading it.

    Attributes:
        file: the name of its file; the ending says how it is read.
        content: the sha256 of the file.
        digest: of the file and all files it names, as `Catalog.digest`.
        files: the sha256 of each file it names, by reference.
        objects: the keys of stored pictures that it names.
        schedule, freshness_hours: as its file says; None if it says nothing.
        shipped: it is a catalog that comes with ImageGenX, as it came.
        review: as its file says.
        given: what `catalog set` said instead of the file, which stays said when the file is registered again.
    """

    name: str
    file: str
    content: str
    digest: str
    files: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    schedule: CatalogSchedule | None = None
    freshness_hours: float | None = None
    shipped: bool = False
    review: ReviewPolicy = NO_REVIEW
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """The objects it is made of, and those that it names."""
        return {f"{INPUTS}{digest}" for digest in (self.content, *self.files.values())} | set(self.objects)

    def to_json(self) -> bytes:
        """For `from_json`."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Registration":
        """The record that `to_json` wrote."""
        given = json.loads(data)
        schedule = given["schedule"] and CatalogSchedule(**given["schedule"])
        review = ReviewPolicy(**given.get("review", {}))
        return cls(**{**given, "schedule": schedule, "objects": tuple(given["objects"]), "review": review})


class RegisteredCatalogs:
    """The registered catalogs of a store, and the retired ones.

    Args:
        renew_after_s: age at which content that is stored already is written anew, so that no collector of garbage
            removes it before a record names it again; half of `retention.orphan_hours`.
        note: tells the audit log of a change, with the catalog and what else is to be known.
    """

    def __init__(
        self, store: ObjectStore, *, renew_after_s: float, note: Callable[..., None] = lambda event, **facts: None
    ) -> None:
        self.store = store
        self._renew_after_s = renew_after_s
        self._note = note

    def names(self) -> list[str]:
        """The names of the registered catalogs, in order."""
        return [_name(found) for found in self.store.list(REGISTERED)]

    def retired_names(self) -> list[str]:
        """The names of the retired ones, in order."""
        return [_name(found) for found in self.store.list(RETIRED)]

    def all(self) -> Iterator[Registration]:
        """The registered catalogs, in order; a record is read again only when it has changed."""
        return self._records(self.store.list(REGISTERED))

    def retired(self, *, since_s: float = 0.0) -> Iterator[Registration]:
        """The catalogs that were retired since then, in s since 1970."""
        return self._records(found for found in self.store.list(RETIRED) if found.written_s >= since_s)

    def get(self, name: str) -> Registration:
        """A registered catalog; CatalogError if there is none of this name."""
        if not is_name(name):
            raise CatalogError(name[:80], "this cannot be a catalog's name")
        try:
            return Registration.from_json(self.store.get(_key(REGISTERED, name)))
        except (ObjectNotFoundError, InvalidKeyError) as exc:
            raise CatalogError(name, "no such catalog is registered; add it with `catalog add FILE`") from exc

    def read(self, name: str, registry: "ModelRegistry") -> Catalog:
        """A registered catalog, checked. Raises CatalogError listing every problem."""
        registration = self.get(name)
        content = self.store.get(INPUTS + registration.content)
        return check_catalog(registration.file, content, self.files(registration), registry)

    def files(self, registration: Registration) -> StoredFiles:
        """Where the files are that a registered catalog names."""
        return StoredFiles(self.store, registration.files)

    def has_object(self, key: str) -> bool:
        """Whether there is an object that rows may name as a picture."""
        try:
            return self.store.stat(key) is not None
        except InvalidKeyError:
            return False

    def register(
        self, file: Path, registry: "ModelRegistry", pictures_from: Path | None = None, *, shipped: bool = False
    ) -> Catalog:
        """Check a catalog and keep it, with the files it names, in the store; one of its name is replaced.

        Args:
            pictures_from: the folder of the files that it names; its own by default.
        Raises:
            CatalogError: if anything is wrong with it; then nothing is changed.
        """
        name, content = catalog_name(file), catalog_content(file)
        files = FolderFiles(pictures_from or file.parent, name)
        catalog = check_catalog(file.name, content, files, registry, has_object=self.has_object)
        registration = Registration(
            name,
            f"{name}{file.suffix.lower()}",
            hashlib.sha256(content).hexdigest(),
            catalog.digest,
            {picture.reference: picture.digest for picture in catalog.pictures},
            catalog.objects,
            shipped=shipped,
            **vars(catalog.terms),
        )
        with suppress(CatalogError):
            registration = with_given(registration, self.get(name).given)
        try:
            self.keep(registration, content, catalog.pictures)
        except (LeadsOutError, OSError) as exc:
            raise CatalogError(name, f"a file it names cannot be read: {told(exc)}") from exc
        except InvalidKeyError as exc:
            raise CatalogError(name, str(exc)) from exc
        return catalog

    def keep(self, registration: Registration, content: bytes, pictures: Iterable[CatalogPicture]) -> None:
        """Store a catalog's contents, then the record that names them."""
        contents = {f"{INPUTS}{picture.digest}": picture.read for picture in pictures}
        contents[INPUTS + registration.content] = lambda: content
        keep_all(self.store, contents, renew_after_s=self._renew_after_s)
        self._write(REGISTERED, registration)
        self._note(AuditEvent.CATALOG_REGISTERED, catalog=registration.name, content=registration.content)
        self.store.delete(_key(RETIRED, registration.name))

    def give(self, name: str, given: Mapping[str, str], registry: "ModelRegistry") -> Registration:
        """Let these hold for a catalog instead of what its file says; an empty one lets the file's hold again.

        Raises:
            CatalogError: if there is no such catalog, or one of them cannot be.
        """
        before, catalog = self.get(name), self.read(name, registry)
        own = replace(before, **vars(catalog.terms), given={})
        changed = with_given(own, {key: value for key, value in {**before.given, **given}.items() if value})
        self._write(REGISTERED, changed)
        self._note(AuditEvent.CATALOG_SET, catalog=name, given=changed.given)
        return changed

    def retire(self, name: str) -> None:
        """Let a catalog be registered no longer; it stays known as retired. Retiring again changes nothing."""
        try:
            registration = self.get(name)
        except CatalogError:
            return
        self._write(RETIRED, replace(registration, shipped=False))
        self.store.delete(_key(REGISTERED, name))
        self._note(AuditEvent.CATALOG_RETIRED, catalog=name)

    def keep_retired(self, registration: Registration) -> None:
        """Note a catalog that was retired elsewhere, without its contents."""
        self._write(RETIRED, registration)

    def _write(self, prefix: str, registration: Registration) -> None:
        self.store.put(_key(prefix, registration.name), registration.to_json(), content_type="application/json")

    def _records(self, found: Iterable[StoredObject]) -> Iterator[Registration]:
        return (record for _, record in map_ahead(self._record, found) if record)

    def _record(self, found: StoredObject) -> Registration | None:
        """None if it was removed since it was listed."""
        place = (found.key, found.etag)
        if place not in _known:
            if len(_known) >= _REMEMBERED:
                _known.clear()
            try:
                _known[place] = Registration.from_json(self.store.get(found.key))
            except ObjectNotFoundError:
                return None
        return _known.get(place)


def with_given(registration: Registration, given: Mapping[str, str]) -> Registration:
    """The registration with these instead of what its file says. Raises CatalogError if one of them cannot be."""
    problems, schedule, hours = ProblemList(), registration.schedule, registration.freshness_hours
    unknown_keys("", given, KEYS, problems)
    if any(key in given for key in _TIMES):
        times = YamlMapping(0)
        times.update({**(asdict(schedule) if schedule else {}), **{key: given[key] for key in _TIMES if key in given}})
        schedule = read_schedule(times, problems)
    if "freshness_hours" in given:
        hours = read_hours(given["freshness_hours"], problems)
    own = {"review": registration.review.word, "remake": str(registration.review.remake)}
    own["owner"] = registration.review.owner
    review = read_review({key: given.get(key, own[key]) for key in REVIEW_KEYS}, problems)
    problems.raise_any(registration.name)
    return replace(registration, schedule=schedule, freshness_hours=hours, review=review, given=dict(given))


def _key(prefix: str, name: str) -> str:
    return f"{prefix}{name}.json"


def _name(found: StoredObject) -> str:
    return found.key.rpartition("/")[2].removesuffix(".json")


_TIMES = ("cron", "timezone", "policy")
KEYS = (*_TIMES, "freshness_hours", *REVIEW_KEYS)
