"""Which objects belong to which catalog, and which catalogs are retired."""

import re
from collections import defaultdict
from collections.abc import Iterator, Set

from io_managers.image_set import MANIFESTS, SUPERSEDED
from ops.editions import FOLDER as EDITIONS
from ops.gallery_page import GALLERIES
from ops.releases import FOLDER as RELEASES
from ops.scores.kept import FOLDER as SCORES
from ops.store_life.retention import Retention
from resources.object_store import ObjectStore, StoredObject
from resources.stored_json import get_json, put_json

RETIRED = "gc/retired/"
_TABLES = "tables/"
# After the prefix: the asset where there is one, then the catalog.
_OWNED = {
    MANIFESTS: re.compile(r"[^/]+/(.+)\.parquet"),
    _TABLES: re.compile(r"[^/]+/(.+)\.parquet"),
    SUPERSEDED: re.compile(r"[^/]+/([^/]+)/[^/]+"),
    GALLERIES: re.compile(r"([^/]+)/[^/]+"),
    RELEASES: re.compile(r"([^/]+)\.json"),
    SCORES: re.compile(r"([^/]+)\.json"),
    EDITIONS: re.compile(r"([^/@]+)@.+"),
}


def catalog_of(key: str) -> str:
    """The catalog that a manifest, table, gallery or edition belongs to; "" for any other object."""
    for prefix, pattern in _OWNED.items():
        if key.startswith(prefix) and (match := pattern.fullmatch(key.removeprefix(prefix))):
            return match[1]
    return ""


def catalog_objects(store: ObjectStore) -> Iterator[StoredObject]:
    """Everything that belongs to some catalog, pictures aside."""
    for prefix in _OWNED:
        yield from (found for found in store.list(prefix) if catalog_of(found.key))


def retired_catalogs(store: ObjectStore, registered: Set[str], retention: Retention, *, dry_run: bool) -> set[str]:
    """The catalogs in the store that have been retired for longer than retention says.

    When a catalog's retirement is first noticed is noted in the store, and forgotten once it is registered again; it
    is noted anew if the catalog has been made since, by a machine whose Dagster instance is another. If nothing is
    registered at all, nothing counts as retired: that is rather the wrong instance than no catalogs.
    """
    if not registered:
        return set()
    made_s: dict[str, float] = defaultdict(float)
    for found in catalog_objects(store):
        made_s[catalog_of(found.key)] = max(made_s[catalog_of(found.key)], found.written_s)
    long_gone = set()
    for catalog in sorted(made_s):
        place = f"{RETIRED}{catalog}.json"
        noticed = get_json(store, place)
        seen_s = float(noticed["seen_s"]) if noticed else None
        if catalog in registered:
            if seen_s is not None and not dry_run:
                store.delete(place)
        elif seen_s is None or seen_s < made_s[catalog]:
            if not dry_run:
                put_json(store, place, {"seen_s": retention.now_s})
        elif seen_s < retention.retired_before_s:
            long_gone.add(catalog)
    return long_gone
