"""What a worker works with."""

from collections.abc import Callable
from dataclasses import dataclass

from configs.settings import Settings
from models.engine import BatchingEngine
from models.registry import ModelRegistry
from ops.serving.warm_up import import_family
from resources.object_store import ObjectStore
from resources.queue import RequestQueue


@dataclass(frozen=True)
class WorkerDependencies:
    """The services of one worker.

    Attributes:
        run_id: the Dagster run it lives in, if any.
        warm_up: called before the first claim.
    """

    settings: Settings
    registry: ModelRegistry
    engine: BatchingEngine
    store: ObjectStore
    queue: RequestQueue
    run_id: str = ""
    warm_up: Callable[[ModelRegistry], None] = import_family
