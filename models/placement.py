"""Where and how a model computes: accelerator, device and number type, chosen from settings and card."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.settings import EngineSettings
from models.acceleration.availability import has_accelerator, require_accelerator
from models.errors import AcceleratorError
from models.families import FAMILIES

if TYPE_CHECKING:
    from models.card import ModelCard


@dataclass(frozen=True)
class Placement:
    """How a model runs; `device` is PyTorch's name (`cpu`, `cuda:1`), `dtype` PyTorch's name of the number type."""

    accelerator: str
    device: str
    dtype: str

    @property
    def kind(self) -> str:
        """What recipes record: `eager/cpu/float32`. Which of several GPUs it was does not matter to a picture."""
        return f"{self.accelerator}/{self.device.partition(':')[0]}/{self.dtype}"


def choose_placement(card: "ModelCard", settings: EngineSettings) -> Placement:
    """The placement a model gets here; `auto` takes the best there is.

    Raises:
        AcceleratorError: if the card or the settings ask for what this machine or version has not.
    """
    device = _device(settings.device)
    accelerator = _best(card, device) if card.accelerator == "auto" else card.accelerator
    if accelerator != "eager" and not FAMILIES[card.family].by_step:
        raise AcceleratorError(
            f"model '{card.name}': models of family '{card.family}' know no accelerator '{accelerator}'. "
            "Use auto or eager."
        )
    require_accelerator(accelerator, device, card.name)
    dtype = card.dtype
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "float16"
    return Placement(accelerator, device, dtype)


def _best(card: "ModelCard", device: str) -> str:
    """The fastest that is there. On a CPU compiling takes a minute for each size and gains little."""
    if device == "cpu" or not FAMILIES[card.family].by_step:
        return "eager"
    if not (card.loras or card.controlnet) and has_accelerator("tensorrt", device):
        return "tensorrt"
    return "compile" if has_accelerator("compile", device) else "eager"


def _device(wanted: str) -> str:
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if gpus else "cpu"
    index = int(wanted.partition(":")[2] or 0)
    if wanted != "cpu" and index >= gpus:
        raise AcceleratorError(
            f"engine.device '{wanted}': PyTorch sees {gpus} GPUs here. Use auto or cpu, or install torch for CUDA."
        )
    return wanted
