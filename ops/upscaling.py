"""Super-resolution, as the step that it adds to a picture's recipe."""

from pathlib import Path

from models.digests import file_digest
from models.errors import ModelLoadError
from models.recipe import PostStep
from models.request import Scale

FACTORS: dict[Scale, int] = {"2x": 2, "4x": 4}


def upscale_step(scale: Scale, *, network: Path, name: str = "") -> PostStep:
    """The step of a picture that is enlarged so. Raises ModelLoadError if the network's file is missing.

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
