"""The life of what is stored: what may go (`collect_garbage`), and whether what must stay is whole (`verify_store`)."""

from ops.store_life.collecting import Collection, Removed, collect_garbage
from ops.store_life.collection_lock import CollectionUnderWayError, only_collection
from ops.store_life.references import UnreadableManifestError
from ops.store_life.retention import Retention
from ops.store_life.tasks import TaskReferences, live_tasks
from ops.store_life.verifying import Damage, Row, Verification, What, heal, verify_store

__all__ = [
    "Collection",
    "CollectionUnderWayError",
    "Damage",
    "Removed",
    "Retention",
    "Row",
    "TaskReferences",
    "UnreadableManifestError",
    "Verification",
    "What",
    "collect_garbage",
    "heal",
    "live_tasks",
    "only_collection",
    "verify_store",
]
