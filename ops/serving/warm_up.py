"""Importing what computes pictures, before anything is claimed."""

import gc
from importlib import import_module

from models.families.quiet_libraries import quiet_libraries
from models.family_table import FAMILIES
from models.registry import ModelRegistry


def import_family(registry: ModelRegistry) -> None:
    """Import the default model's family and its libraries; the garbage collector rests, which saves a fifth.

    The libraries fail if two threads import them at once, so that the engine must have nothing to do meanwhile.
    """
    known = registry.default_model in registry.names  # else its card is wrong, and the others' requests are served
    model = registry.default_model if known else registry.names[0]
    module, _, _ = FAMILIES[registry.card(model).family].target.partition(":")
    gc.disable()
    try:
        quiet_libraries()
        import_module(module)
    finally:
        gc.freeze()
        gc.enable()
