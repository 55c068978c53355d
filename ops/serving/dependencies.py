"""What a worker works with."""

from collections.abc import Callable
from dataclasses import dataclass

from configs.settings import Settings
from models.engine import BatchingEngine
from models.families.loading import family_class
from models.registry import ModelRegistry
from resources.object_store import ObjectStore
from resources.queue import RequestQueue


def import_family(registry: ModelRegistry) -> None:
    """Import the default model's family and its libraries.

    The libraries fail if two threads import them at once, so that the engine must have nothing to do meanwhile.
    """
    known = registry.default_model in registry.names  # else its card is wrong, and the others' requests are served
    family_class(registry.card(registry.default_model if known else registry.names[0]).family)


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
