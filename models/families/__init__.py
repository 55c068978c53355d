"""The model families: each is one module with one class, registered here without importing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from models.families.quiet_libraries import quiet_libraries
from models.request import Mode

if TYPE_CHECKING:
    from models.families.base import ModelFamily
    from models.placement import Placement
    from models.registry import ModelCard


@dataclass(frozen=True)
class FamilyEntry:
    """A family by its `module:Class`, and what its models can at most do; `by_step` for a `StepFamily`."""

    target: str
    modes: frozenset[Mode]
    has_loras: bool = True
    max_batch_size: int | None = None
    by_step: bool = False


FAMILIES: Mapping[str, FamilyEntry] = {
    "sd": FamilyEntry("models.families.stable_diffusion:StableDiffusion", frozenset(Mode), by_step=True),
    "sdxl": FamilyEntry("models.families.sdxl:StableDiffusionXL", frozenset(Mode), by_step=True),
    "diffusers": FamilyEntry(
        "models.families.any_diffusers:AnyDiffusers", frozenset({Mode.TEXT2IMG}), has_loras=False, max_batch_size=1
    ),
}


def load_family(card: "ModelCard", placement: "Placement") -> "ModelFamily":
    """The model of a card, loaded and ready; this is where PyTorch is imported.

    Raises:
        ModelLoadError: if it cannot be loaded.
    """
    quiet_libraries()
    module, _, name = FAMILIES[card.family].target.partition(":")
    family: ModelFamily = getattr(import_module(module), name)(card, placement)
    family.load()
    return family
