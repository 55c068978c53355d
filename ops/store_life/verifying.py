"""Verification: whether every picture that a manifest names is in the store, unchanged."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from enum import StrEnum

from foundation.map_ahead import map_ahead
from io_managers.image_set import MANIFESTS, SUPERSEDED, ImageSet, decode_manifest
from ops.editions import FOLDER as EDITIONS
from ops.quarantine import DAMAGED
from ops.store_life.catalogs import catalog_of
from ops.store_life.references import TABLES, UnreadableManifestError, named_keys
from resources.object_store import ObjectNotFoundError, ObjectStore, StoredObject

_SOURCES = (MANIFESTS, EDITIONS, SUPERSEDED)


class What(StrEnum):
    """What is wrong with an object."""

    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, order=True, slots=True)
class Row:
    """A row whose picture is damaged."""

    catalog: str
    asset: str
    row_id: str


@dataclass(frozen=True)
class Damage:
    """An object that is not what a manifest says, and the rows to make again for it.

    Attributes:
        rows: empty where only kept editions and superseded manifests name the picture: no run makes it again.
        etag: of the object that is wrong; "" if it is missing.
    """

    key: str
    what: What
    rows: tuple[Row, ...]
    etag: str = ""


@dataclass
class Verification:
    """What was looked at, what is wrong with it, and how many objects were moved aside for that."""

    manifests: int = 0
    pictures: int = 0
    moved: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def catalogs(self) -> dict[str, set[str]]:
        """The catalogs to materialize again, and their rows that are made again then."""
        rows: dict[str, set[str]] = defaultdict(set)
        for damage in self.damages:
            for row in damage.rows:
                rows[row.catalog].add(row.row_id)
        return dict(rows)


def verify_store(store: ObjectStore, catalogs: Set[str] = frozenset()) -> Verification:
    """Read every picture that manifests name and compare its SHA-256; pictures are read once, some at a time.

    Args:
        catalogs: only these; all if empty.
    Raises:
        StoreError: if the store fails.
    """
    found = Verification()
    manifests = [one for one in _manifests(store) if not catalogs or catalog_of(one.key) in catalogs]
    whole = []
    for manifest, images in _opened(store, manifests):
        if images is None:
            found.damages.append(_unreadable(manifest))
        else:
            whole.append(manifest)
    found.manifests = len(manifests)
    seen: set[str] = set()
    wrong: set[str] = set()
    for (key, _), what in map_ahead(lambda one: _examine(store, *one), _new_pictures(store, whole, seen)):
        if what:
            wrong.add(key)
    found.pictures = len(seen)
    found.damages += _with_rows(store, whole, wrong)
    found.damages += _unreadable_tables(store, catalogs)
    return found


def heal(store: ObjectStore, found: Verification) -> None:
    """Move changed and unreadable objects to `quarantine/damaged/`, so that the next run makes them again.

    Missing ones need nothing: the next run finds out that they are. Nor do those that a run has made anew since they
    were found wrong.
    """
    for damage in found.damages:
        if damage.what is What.MISSING or not _is_unchanged(store, damage):
            continue
        try:
            data = store.get(damage.key)
        except ObjectNotFoundError:
            continue
        store.put(DAMAGED + damage.key, data, content_type="application/octet-stream")
        if _is_unchanged(store, damage):
            store.delete(damage.key)
            found.moved += 1


def _is_unchanged(store: ObjectStore, damage: Damage) -> bool:
    """Whether the object is the one that was found wrong."""
    now = store.stat(damage.key)
    return now is not None and now.etag == damage.etag


def _manifests(store: ObjectStore) -> Iterator[StoredObject]:
    for prefix in _SOURCES:
        yield from (found for found in store.list(prefix) if found.key.endswith(".parquet"))


def _opened(store: ObjectStore, manifests: Iterable[StoredObject]) -> Iterator[tuple[StoredObject, ImageSet | None]]:
    """Each manifest with its rows, one at a time; None for one that is damaged."""
    import pyarrow as pa

    for found in manifests:
        try:
            yield found, ImageSet(catalog_of(found.key), decode_manifest(store.get(found.key)), store)
        except ObjectNotFoundError:  # replaced or removed since it was listed
            continue
        except (pa.ArrowException, OSError):
            yield found, None


def _new_pictures(
    store: ObjectStore, manifests: Iterable[StoredObject], seen: set[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Key and digest of every picture, when it is first named."""
    for _, images in _opened(store, manifests):
        for row in images.rows() if images else ():
            if row.key and row.key not in seen:
                seen.add(row.key)
                yield row.key, frozenset((row.digest,))


def _examine(store: ObjectStore, key: str, digests: frozenset[str]) -> What | None:
    try:
        data = store.get(key)
    except ObjectNotFoundError:
        return What.MISSING
    return None if hashlib.sha256(data).hexdigest() in digests else What.CHANGED


def _with_rows(store: ObjectStore, manifests: Iterable[StoredObject], wrong: Set[str]) -> Iterator[Damage]:
    """The damages with every row that names them; a picture that some manifest knows as it is, is whole."""
    rows, digests = defaultdict(list), defaultdict(set)
    for manifest, images in _opened(store, manifests) if wrong else ():
        for row in images.rows() if images else ():
            if row.key in wrong and row.status.has_picture:
                digests[row.key].add(row.digest)
                if manifest.key.startswith(MANIFESTS):
                    rows[row.key].append(Row(catalog_of(manifest.key), _asset_of(manifest.key), row.row_id))
    for key in sorted(wrong):
        stored = store.stat(key)  # before it is read: whatever is stored after this is not what was found wrong
        if what := _examine(store, key, frozenset(digests[key])):
            yield Damage(key, what, tuple(sorted(rows[key])), stored.etag if stored else "")


def _unreadable(found: StoredObject) -> Damage:
    key = found.key
    rows = (Row(catalog_of(key), _asset_of(key), "*"),) if key.startswith((MANIFESTS, TABLES)) else ()
    return Damage(key, What.UNREADABLE, rows, found.etag)


def _unreadable_tables(store: ObjectStore, catalogs: Set[str]) -> Iterator[Damage]:
    for found in store.list(TABLES):
        if catalogs and catalog_of(found.key) not in catalogs:
            continue
        try:
            for _ in named_keys(found.key, store.get(found.key)):
                pass
        except UnreadableManifestError:
            yield _unreadable(found)
        except ObjectNotFoundError:
            continue


def _asset_of(key: str) -> str:
    return key.split("/")[1]
