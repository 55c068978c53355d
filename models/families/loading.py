"""Loading a model of whichever family: the one place where a family's code is imported."""

import gc
import re
import sys
from importlib import import_module
from importlib.util import find_spec

from foundation.errors import told
from models.card import ModelCard
from models.errors import ModelLoadError, OutOfMemoryError
from models.families.base import ModelFamily
from models.families.quiet_libraries import quiet_libraries
from models.family_table import FAMILIES
from models.placement import Placement

_ASKED_FOR = ("sentencepiece", "torchvision", "tiktoken", "protobuf", "timm", "ftfy")
_MODULES = {"protobuf": "google.protobuf"}


def load_family(card: ModelCard, placement: Placement, release: str = "") -> ModelFamily:
    """The model of a card, loaded and ready; this is where PyTorch is imported.

    Args:
        release: the digest of the model's files, which what is built from them is kept by.
    Raises:
        ModelLoadError: if it cannot be loaded; nothing of it is kept then.
        OutOfMemoryError: if its device has not the memory.
    """
    family = family_class(card.family)(card, placement)
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


def family_class(name: str) -> type[ModelFamily]:
    """A family's class, imported with its libraries; the garbage collector rests meanwhile, which saves a fifth."""
    module, _, kind = FAMILIES[name].target.partition(":")
    is_new = module not in sys.modules
    if is_new:
        gc.disable()
    try:
        quiet_libraries()
        found: type[ModelFamily] = getattr(import_module(module), kind)
    finally:
        if is_new:
            gc.freeze()
            gc.enable()
    return found


def load_failure(card: ModelCard, placement: Placement, exc: Exception) -> OutOfMemoryError | ModelLoadError:
    """What a model's requests are told of an error of loading it; never the error itself, which holds what it has."""
    from models.denoising.memory import is_out_of_memory  # imports PyTorch

    if is_out_of_memory(exc):
        return OutOfMemoryError(
            f"out of memory: model '{card.name}' does not fit on {placement.device} beside what is in use there. "
            "Free memory, or use a smaller model or number type."
        )
    if package := _missing_package(exc):
        return ModelLoadError(
            f"model '{card.name}' needs the package {package}, which is not installed here: pip install {package}"
        )
    return ModelLoadError(f"model '{card.name}' cannot be loaded from {card.source}: {told(exc)}")


def _missing_package(exc: Exception) -> str | None:
    """The package that diffusers or transformers asks for, in many words, if it is not here."""
    text = str(exc)
    if isinstance(exc, ModelLoadError) or not re.search(r"install|No module named", text):
        return None
    named = (package for package in _ASKED_FOR if re.search(rf"\b{package}\b", text, re.IGNORECASE))
    return next((package for package in named if find_spec(_MODULES.get(package, package)) is None), None)
