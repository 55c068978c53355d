"""Garbage collection: which objects may go, and their removal while runs go on.

Only what ImageGenX itself stores is ever removed; objects under other prefixes are left alone. The rules that keep
runs and removal out of each other's way are in `io_managers.reuse`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

from foundation.map_ahead import map_ahead
from io_managers.image_set import PICTURES, SUPERSEDED
from io_managers.reuse import ANNOUNCEMENTS, announced
from ops.catalog.pictures import INPUTS
from ops.catalog.registered import RegisteredCatalogs
from ops.editions import FOLDER as EDITIONS
from ops.editions import edition_folder, forget_editions, surplus_editions
from ops.quarantine import QUARANTINE
from ops.store_life.catalogs import RETIRED, catalog_objects, catalog_of
from ops.store_life.references import References, keys_of_catalogs
from ops.store_life.retention import Retention
from ops.store_life.retired import RetiredCatalogs
from ops.store_life.tasks import TaskReferences
from resources.object_store import ObjectStore, StoredObject

UPLOADS = "uploads/"
BATCH = 1_000
"""Objects announced, checked once more and removed together."""
_DAY = re.compile(r"(\d{8})/")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Removed:
    """Objects that went for one reason."""

    objects: int = 0
    bytes: int = 0

    def add(self, found: StoredObject) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += found.size_bytes


@dataclass
class Collection:
    """What a collection removed, by reason; `spared` were in use again when they were about to go."""

    removed: dict[str, Removed] = field(default_factory=dict)
    spared: int = 0

    @property
    def objects(self) -> int:
        """All removed objects."""
        return sum(one.objects for one in self.removed.values())

    @property
    def bytes(self) -> int:
        """The bytes of all removed objects."""
        return sum(one.bytes for one in self.removed.values())

    def told(self) -> dict[str, object]:
        """The same for the audit log."""
        reasons = {str(reason): gone.objects for reason, gone in self.removed.items()}
        return {"objects": self.objects, "bytes": self.bytes, "reasons": reasons}


def collect_garbage(
    store: ObjectStore,
    retention: Retention,
    *,
    registered: Callable[[], Set[str]],
    tasks: TaskReferences,
    catalogs: RegisteredCatalogs | None = None,
    done: Collection | None = None,
    dry_run: bool = False,
) -> Collection:
    """Remove what nothing refers to any more, and what has been kept for as long as retention says.

    Args:
        registered: tells the catalogs there are now; others in the store are retired. It is asked again before
            anything of theirs goes, since a catalog may come back meanwhile.
        tasks: what the request queue refers to.
        catalogs: the registered catalogs, which are made of objects and may name others as input.
        done: is told what goes while it goes.
        dry_run: remove nothing, write nothing, report what would go.
    Raises:
        UnreadableManifestError: if a manifest cannot be read; no picture is removed then.
        StoreError: if the store fails.
    """
    run = _Run(store, retention, done or Collection(), tasks, dry_run)
    retired = RetiredCatalogs.find(store, registered, retention, dry_run=dry_run)
    run.remove("retired catalogs", _owned_by(store, retired.catalogs), retired)
    if not dry_run:
        for catalog in retired.catalogs:
            store.delete(f"{RETIRED}{catalog}.json")
    _remove_editions(run)
    run.remove("superseded manifests", _older(store, SUPERSEDED, retention.superseded_before_s))
    run.remove("quarantine", _older(store, QUARANTINE, retention.quarantined_before_s))
    run.remove("void announcements", _older(store, ANNOUNCEMENTS, retention.now_s - 24 * 3600))
    counts = partial(_counts, retired.catalogs, retention)

    def more() -> Set[str]:
        return retired.revive() | (keys_of_catalogs(catalogs, retention) if catalogs else set())

    references = References(store, counts, tasks.keys, more)
    references.refresh()
    run.remove("pictures", _older(store, PICTURES, retention.orphans_before_s), references)
    run.remove("input pictures of catalogs", _old_inputs(store, retention.orphans_before_s), references)
    run.remove("uploads", _older(store, UPLOADS, retention.uploads_before_s), references)
    run.remove("on-demand pictures", _old_on_demand(store, retention.on_demand_before, tasks), references)
    return run.collection


class Kept(Protocol):
    """Keys that must stay, looked up once more before each batch goes."""

    @property
    def keys(self) -> Set[str]:
        """The keys, as far as the last look found them."""

    def refresh(self) -> None:
        """Look again."""


@dataclass(frozen=True)
class _Run:
    """One collection under way."""

    store: ObjectStore
    retention: Retention
    collection: Collection
    tasks: TaskReferences
    dry_run: bool

    def remove(self, reason: str, found: Iterable[StoredObject], references: "Kept | None" = None) -> None:
        """Remove objects, except those that `references` names, in announced batches."""
        unused = (one for one in found if references is None or one.key not in references.keys)
        while batch := list(islice(unused, BATCH)):
            self._remove_batch(reason, batch, references)

    def _remove_batch(self, reason: str, batch: list[StoredObject], references: "Kept | None") -> None:
        gone = self.collection.removed.setdefault(reason, Removed())
        if self.dry_run:
            for one in batch:
                gone.add(one)
            return
        with announced(self.store, [one.key for one in batch]) as holds:
            if references:
                references.refresh()
            kept = references.keys if references else frozenset()
            for one, went in map_ahead(lambda one: holds() and self._remove_one(one, kept), batch):
                if went:
                    gone.add(one)
                else:
                    self.collection.spared += 1

    def _remove_one(self, found: StoredObject, kept: Set[str]) -> bool:
        if found.key in kept:
            return False
        now = self.store.stat(found.key)
        if now is None or now.etag != found.etag or now.written_s != found.written_s:
            return False
        self.store.delete(found.key)
        return True


def _counts(retired: Set[str], retention: Retention, found: StoredObject) -> bool:
    """Whether a manifest or table protects what it names."""
    if found.key.startswith(SUPERSEDED) and found.written_s < retention.superseded_before_s:
        return False
    return catalog_of(found.key) not in retired


def _older(store: ObjectStore, prefix: str, before_s: float) -> Iterator[StoredObject]:
    return (found for found in store.list(prefix) if found.written_s < before_s)


def _old_inputs(store: ObjectStore, before_s: float) -> Iterator[StoredObject]:
    """What runs have put there for the workers; what else is under that prefix is somebody's own."""
    return (found for found in _older(store, INPUTS, before_s) if _SHA256.fullmatch(found.key.removeprefix(INPUTS)))


def _owned_by(store: ObjectStore, catalogs: Set[str]) -> Iterator[StoredObject]:
    return (found for found in catalog_objects(store) if catalogs and catalog_of(found.key) in catalogs)


def _old_on_demand(store: ObjectStore, before_day: str, tasks: TaskReferences) -> Iterator[StoredObject]:
    """On-demand pictures of earlier days; their keys begin with the day, and days come before all other prefixes."""
    for found in store.list():
        day = _DAY.match(found.key)
        if day is None:
            if found.key > "9":
                return
            continue
        if day[1] < before_day and not tasks.protects(found.key):
            yield found


def _remove_editions(run: _Run) -> None:
    """Remove the copies of editions beyond retention; only then their catalogs forget them."""
    store, keep = run.store, run.retention.settings.editions
    for catalog in sorted({catalog_of(found.key) for found in store.list(EDITIONS)} - {""}):
        if surplus := surplus_editions(store, catalog, keep=keep):
            for edition in surplus:
                run.remove("editions beyond retention", store.list(edition_folder(catalog, edition)))
            if not run.dry_run:
                forget_editions(store, catalog, surplus)
