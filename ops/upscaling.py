"""Super-resolution of a picture, and the step it adds to the picture's recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

from models.digests import file_digest
from models.errors import ModelLoadError
from models.recipe import PostStep
from models.request import Scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FACTORS: dict[Scale, int] = {"2x": 2, "4x": 4}


def upscale_step(scale: Scale, *, network: Path, name: str = "") -> PostStep:
    """Return the recipe's step for `upscale_pixels`. Raises ModelLoadError if the network's file is missing.

    Args:
        name: that requests choose the network by; "" for the one that they get otherwise.
    """
    from models.colour_anchor import anchor_rule

    try:
        digest = file_digest(network)
    except OSError as exc:
        raise ModelLoadError(f"upscaling network '{network.name}': no file {network}.") from exc
    step = PostStep(op="upscale", params={"scale": FACTORS[scale], "colours": anchor_rule()}, uses=digest)
    return step.model_copy(update={"params": {**step.params, "network": name}}) if name else step


def upscale_pixels(
    pixels: "NDArray[np.uint8]", scale: Scale, *, network: Path, device: str = "cpu"
) -> "NDArray[np.uint8]":
    """Enlarge a picture with an upscaling network, tile by tile, so that memory is bounded.

    Args:
        pixels: uint8 RGB of shape (H, W, 3), any size from 1×1.
        network: its weights; loaded on first use and kept by the process.
        device: where it runs, like `cpu` or `cuda`.
    Returns:
        uint8 RGB of shape (2H, 2W, 3) or (4H, 4W, 3).
    Raises:
        ModelError: if the network cannot be loaded or does not enlarge so much.
        PictureError: if the pixels are not such an array.
    """
    from models.esrgan import load_upscaler

    return load_upscaler(network, device).upscale(pixels, FACTORS[scale])
