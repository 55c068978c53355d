"""Catalogs that have been retired for long enough to go, unless they are registered again while they go."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from io_managers.image_set import MANIFESTS, SUPERSEDED
from ops.editions import FOLDER as EDITIONS
from ops.store_life.catalogs import catalog_objects, catalog_of, retired_catalogs
from ops.store_life.references import TABLES, UnreadableManifestError, keys_of
from ops.store_life.retention import Retention
from resources.object_store import ObjectStore

_NAMING = (MANIFESTS, TABLES, SUPERSEDED, EDITIONS)


@dataclass
class RetiredCatalogs:
    """The retired catalogs, and all that is theirs, as it was found before any of it went.

    A run of a catalog that comes back may have read its manifest before that went, and then reuses the pictures that it
    names without writing them anew. Whoever comes back was registered before that, so asking for registrations after
    the manifests are gone finds all such catalogs.

    Attributes:
        catalogs: those that may go; a catalog that is registered again leaves the set.
        keys: what must stay of all that was theirs: objects of catalogs that came back, and the pictures they name.
    """

    registered: Callable[[], Set[str]]
    catalogs: set[str]
    keys: set[str] = field(default_factory=set)
    theirs: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def find(
        cls, store: ObjectStore, registered: Callable[[], Set[str]], retention: Retention, *, dry_run: bool
    ) -> "RetiredCatalogs":
        """Look the store through."""
        catalogs = retired_catalogs(store, registered(), retention, dry_run=dry_run)
        theirs: dict[str, set[str]] = defaultdict(set)
        for catalog, key in _keys(store, catalogs):
            theirs[catalog].add(key)
        return cls(registered, catalogs, theirs=theirs)

    def refresh(self) -> None:
        """Ask once more which catalogs are registered."""
        for catalog in self.catalogs & self.registered():
            self.catalogs.remove(catalog)
            self.keys |= self.theirs.get(catalog, set())

    def revive(self) -> Set[str]:
        """What must stay as things stand now."""
        self.refresh()
        return self.keys


def _keys(store: ObjectStore, catalogs: Set[str]) -> Iterator[tuple[str, str]]:
    """(catalog, key) of all objects of these catalogs and of all pictures that they name."""
    for found in catalog_objects(store) if catalogs else ():
        if (catalog := catalog_of(found.key)) in catalogs:
            yield catalog, found.key
            if found.key.startswith(_NAMING) and found.key.endswith(".parquet"):
                yield from ((catalog, key) for key in _named(store, found.key))


def _named(store: ObjectStore, manifest: str) -> set[str]:
    """The pictures that a manifest names; none if it is damaged, since no run can read it either."""
    try:
        return keys_of(store, manifest)
    except UnreadableManifestError:
        return set()
