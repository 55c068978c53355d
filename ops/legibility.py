"""Whether a mark's colour can be read on what lies under it."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MIN_CONTRAST = 3.0
"""Of large letters to their ground (WCAG 2.2, success criterion 1.4.3)."""

MAX_UNREADABLE = 0.1
"""The share of the ground that may have less."""


def legibility_rule() -> str:
    """How a halo is decided, for recipes: which pictures get one follows from their pixels."""
    return f"below {MIN_CONTRAST:g}:1 on {MAX_UNREADABLE:.0%}"


def is_hard_to_read(color: str, ground: "Image", where: "Image") -> bool:
    """Whether too much of the ground is too like a colour.

    Args:
        color: `#RRGGBB`.
        ground: RGB, the part of the picture under the mark.
        where: the mark's surroundings, a mask (L) of the same size; what counts is where it is not 0.
    """
    import numpy as np
    from PIL import ImageColor

    weights = np.asarray(where) > 0
    if not weights.any():
        return False
    own = float(_luminance(np.array(ImageColor.getrgb(color)[:3], np.uint8)))
    under = _luminance(np.asarray(ground)[weights])
    lighter, darker = np.maximum(own, under), np.minimum(own, under)
    return bool(((lighter + 0.05) / (darker + 0.05) < MIN_CONTRAST).mean() > MAX_UNREADABLE)


def _luminance(pixels: "NDArray[np.uint8]") -> "NDArray[np.float64]":
    """Relative luminance, 0 to 1, of sRGB pixels of shape (…, 3)."""
    import numpy as np

    luminance: NDArray[np.float64] = _linear()[pixels] @ np.array([0.2126, 0.7152, 0.0722])
    return luminance


@cache
def _linear() -> "NDArray[np.float64]":
    """The light of each of the 256 levels of sRGB (IEC 61966-2-1)."""
    import numpy as np

    levels = np.arange(256) / 255
    light: NDArray[np.float64] = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return light
