"""The model families: each is one module with one class, registered here without importing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from foundation.errors import told
from models.errors import ModelLoadError, OutOfMemoryError
from models.families.quiet_libraries import quiet_libraries
from models.request import Mode

if TYPE_CHECKING:
    from models.card import ModelCard
    from models.families.base import ModelFamily
    from models.placement import Placement


@dataclass(frozen=True)
class FamilyEntry:
    """A family by its `module:Class`, and what its models can at most do; `by_step` for a `StepFamily`.

    Attributes:
        from_hub: what a card names by hub id is fetched before `load` is called.
        unused_parts: of a checkpoint on the hub, never fetched.
        native_side_px: of the square that its models are made for.
    """

    target: str
    modes: frozenset[Mode]
    has_loras: bool = True
    max_batch_size: int | None = None
    by_step: bool = False
    takes_single_files: bool = False
    from_hub: bool = False
    unused_parts: frozenset[str] = frozenset()
    native_side_px: int = 512


_LATENT_DIFFUSION: Mapping[str, Any] = {
    "modes": frozenset(Mode),
    "by_step": True,
    "takes_single_files": True,
    "from_hub": True,
    "unused_parts": frozenset({"safety_checker", "feature_extractor", "image_encoder"}),
}


FAMILIES: Mapping[str, FamilyEntry] = {
    "sd": FamilyEntry("models.families.stable_diffusion:StableDiffusion", **_LATENT_DIFFUSION),
    "sdxl": FamilyEntry("models.families.sdxl:StableDiffusionXL", native_side_px=1024, **_LATENT_DIFFUSION),
    "diffusers": FamilyEntry(
        "models.families.any_diffusers:AnyDiffusers",
        frozenset({Mode.TEXT2IMG}),
        has_loras=False,
        max_batch_size=1,
        from_hub=True,
    ),
}


def load_family(card: "ModelCard", placement: "Placement", release: str = "") -> "ModelFamily":
    """The model of a card, loaded and ready; this is where PyTorch is imported.

    Args:
        release: the digest of the model's files, which what is built from them is kept by.
    Raises:
        ModelLoadError: if it cannot be loaded; nothing of it is kept then.
        OutOfMemoryError: if its device has not the memory.
    """
    quiet_libraries()
    module, _, name = FAMILIES[card.family].target.partition(":")
    family: ModelFamily = getattr(import_module(module), name)(card, placement)
    family.release_digest = release
    try:
        family.load()
    except Exception as exc:  # hub, files and weights fail in many ways; all of them are this model's
        failure = load_failure(card, placement, exc)
    else:
        return family
    # Outside of the except block, and without the cause: its frames hold what was loaded so far, gigabytes of it.
    family.release()
    raise failure


def load_failure(card: "ModelCard", placement: "Placement", exc: Exception) -> "OutOfMemoryError | ModelLoadError":
    """What a model's requests are told of an error of loading it; never the error itself, which holds what it has."""
    from models.batching.memory import is_out_of_memory

    if is_out_of_memory(exc):
        return OutOfMemoryError(
            f"out of memory: model '{card.name}' does not fit on {placement.device} beside what is in use there. "
            "Free memory, or use a smaller model or number type."
        )
    return ModelLoadError(f"model '{card.name}' cannot be loaded from {card.source}: {told(exc)}")
