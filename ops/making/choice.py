"""Who makes a catalog's pictures: this process, or the fleet, as `engine.fleet` says."""

from collections.abc import Callable

from configs.settings import Settings
from models.engine import Engine
from ops.finish import Finisher
from ops.making.fleet import FleetMaker
from ops.making.in_process import EngineMaker
from ops.making.maker import PictureMaker
from resources.queue import RequestQueue


def generating_maker(
    settings: Settings,
    catalog: str,
    finisher: Finisher,
    engine: Callable[[], Engine],
    queue: Callable[[], RequestQueue],
) -> PictureMaker:
    """Who generates a catalog's pictures; the engine, or the queue, is opened only if it is needed."""
    if settings.engine.fleet:
        return FleetMaker(queue(), catalog, settings)
    return EngineMaker(engine(), finisher, settings.pictures)


def upscaling_maker(settings: Settings, catalog: str, queue: Callable[[], RequestQueue]) -> PictureMaker | None:
    """Who upscales them; None means this process, as `derive_images` has it."""
    return FleetMaker(queue(), catalog, settings) if settings.engine.fleet else None
