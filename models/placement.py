"""Where and how a model computes: accelerator, device and number type, chosen from settings and card."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.settings import EngineSettings, Offload
from models.acceleration.availability import (
    computes_bfloat16,
    has_accelerator,
    keep_graphs,
    require_accelerator,
    warn_of_missing,
)
from models.errors import AcceleratorError
from models.family_table import FAMILIES
from models.model_traits import has_transformer
from models.store_repository import is_place

if TYPE_CHECKING:
    from models.card import ModelCard
    from models.resolution import Resolution

_LARGE_BYTES = 256 * 2**20
"""Of weights from which on `auto` computes in bfloat16 on a CPU; a tenth of Stable Diffusion 1.5 in half precision."""

_TILE_STEP_PX = 64
"""Of a tile's sides, so that the places where tiles overlap are whole latents."""


@dataclass(frozen=True)
class Placement:
    """How a model runs.

    Attributes:
        device: PyTorch's name, `cpu` or `cuda:1`.
        dtype: PyTorch's name of the number type.
        decode_budget_pixels: larger pictures are decoded in tiles of at most so many; None without a bound.
        offload: what of a diffusion transformer is kept in the computer's own memory while it is not in use.
    """

    accelerator: str
    device: str
    dtype: str
    decode_budget_pixels: int | None = None
    offload: Offload = "none"

    def kind(self, size: "Resolution") -> str:
        """What recipes record of a picture of this size: `eager/cpu/float32`, or `eager/cpu/float32/tiles-512`.

        Which of several GPUs it was does not matter to a picture; tiles do, a little.
        """
        kind = f"{self.accelerator}/{self.device.partition(':')[0]}/{self.dtype}"
        tile = self.tile_px(size)
        return f"{kind}/tiles-{tile}" if tile else kind

    def tile_px(self, size: "Resolution") -> int | None:
        """The sides of the square tiles that a picture of this size is decoded in; None for one piece."""
        budget = self.decode_budget_pixels
        if budget is None or size.width_px * size.height_px <= budget:
            return None
        return math.isqrt(budget) // _TILE_STEP_PX * _TILE_STEP_PX


def choose_placement(card: "ModelCard", settings: EngineSettings) -> Placement:
    """The placement a model gets here; `auto` takes the best there is.

    Raises:
        AcceleratorError: if the card or the settings ask for what this machine or version has not.
    """
    device = choose_device(settings.device)
    if card.accelerator == "compile" or device != "cpu":
        keep_graphs(card.engines_folder.absolute().with_name("graphs"))
    accelerator = _best(card, device) if card.accelerator == "auto" else card.accelerator
    if accelerator != "eager" and not FAMILIES[card.family].is_unet:
        raise AcceleratorError(
            f"model '{card.name}': models of family '{card.family}' know no accelerator '{accelerator}'. "
            "Use auto or eager."
        )
    require_accelerator(accelerator, device, card.name)
    if card.dtype == "float16" and card.traits.overflows:
        raise AcceleratorError(f"model '{card.name}': pictures are black in float16. Use dtype bfloat16 or auto.")
    dtype = _best_dtype(card, device) if card.dtype == "auto" else card.dtype
    return Placement(accelerator, device, dtype, decode_budget(card, settings), settings.offload)


def _best_dtype(card: "ModelCard", device: str) -> str:
    """On a CPU bfloat16 where that computes it and the network is large enough to gain; on a GPU half precision.

    That is bfloat16 too where float16 overflows: such pictures are black.
    """
    if device == "cpu":
        gains = FAMILIES[card.family].by_step and computes_bfloat16() and _is_large(card)
        return "bfloat16" if gains else "float32"
    return "bfloat16" if has_transformer(card.path) else FAMILIES[card.family].half_dtype


def _is_large(card: "ModelCard") -> bool:
    """By the size of the network's weights; what is fetched from elsewhere counts as large before and after."""
    own = card.all_parts.get("unet", "")
    if card.is_on_hub or card.path is None or is_place(own):
        return True
    network = card.part_path("unet") if own else card.path
    folders = (network,) if own else (network / "unet", network / "transformer")
    files = [network] if network.is_file() else (file for one in folders for file in one.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) >= _LARGE_BYTES


def decode_budget(card: "ModelCard", settings: EngineSettings) -> int | None:
    """`Placement.decode_budget_pixels` of a model; families that run as a whole decode as their pipelines do."""
    return settings.decode_budget_pixels if FAMILIES[card.family].by_step else None


def _best(card: "ModelCard", device: str) -> str:
    """The fastest that is there. On a CPU compiling takes a minute for each size and gains little."""
    if device == "cpu" or not FAMILIES[card.family].is_unet:
        return "eager"
    if not (card.loras or card.has_controlnets) and has_accelerator("tensorrt", device):
        return "tensorrt"
    if has_accelerator("compile", device):
        return "compile"
    warn_of_missing("compile", device)
    return "eager"


def choose_device(wanted: str) -> str:
    """PyTorch's name of the device that `engine.device` comes to here; AcceleratorError if it is not here."""
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
