"""Importing what computes pictures, before anything is claimed."""

from models.families.loading import family_class
from models.registry import ModelRegistry


def import_family(registry: ModelRegistry) -> None:
    """Import the default model's family and its libraries.

    The libraries fail if two threads import them at once, so that the engine must have nothing to do meanwhile.
    """
    known = registry.default_model in registry.names  # else its card is wrong, and the others' requests are served
    family_class(registry.card(registry.default_model if known else registry.names[0]).family)
