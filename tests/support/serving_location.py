"""The code location, whose serving runs have the stand-in worker's engine: they start without PyTorch."""

from imagegenx_assets.definitions import defs
from tests.support.stand_in_serving_run import stand_in

stand_in()

__all__ = ["defs"]
