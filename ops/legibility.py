"""Whether a mark's colour can be read on what lies under it."""

import math
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

_LOOKED_AT = 2**20
"""A picture of more pixels is reduced to about so many first."""

Box = tuple[int, int, int, int]


def legibility_rule() -> str:
    """How a halo is decided, for recipes: which pictures get one follows from their pixels."""
    return f"below {MIN_CONTRAST:g}:1 on {MAX_UNREADABLE:.0%}"


class Ground:
    """A picture (RGB) as the ground of letters of one colour, `#RRGGBB`; any number of places can be asked about."""

    def __init__(self, picture: "Image", color: str) -> None:
        import numpy as np
        from PIL import ImageColor

        self._step = max(math.isqrt(picture.width * picture.height // _LOOKED_AT), 1)
        under = _luminance(np.asarray(picture.reduce(self._step)))
        own = float(_luminance(np.array(ImageColor.getrgb(color)[:3], np.uint8)))
        unreadable = (np.maximum(own, under) + 0.05) / (np.minimum(own, under) + 0.05) < MIN_CONTRAST
        # Sums over all that is above and left of each place, so that every box takes four of them.
        self._sums = np.pad(unreadable.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))

    def is_hard_to_read(self, box: Box) -> bool:
        """Whether too much of a place is too like the colour.

        Args:
            box: left, top, right and bottom, px; what of it is in the picture counts.
        """
        height, width = (side - 1 for side in self._sums.shape)
        left, top = (max(side // self._step, 0) for side in box[:2])
        right, bottom = (min(-(-side // self._step), most) for side, most in zip(box[2:], (width, height), strict=True))
        if left >= right or top >= bottom:
            return False
        sums = self._sums
        found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return bool(found > MAX_UNREADABLE * (right - left) * (bottom - top))


def _luminance(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """Relative luminance, 0 to 1, of sRGB pixels of shape (…, 3)."""
    import numpy as np

    luminance: NDArray[np.float32] = _linear()[pixels] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return luminance


@cache
def _linear() -> "NDArray[np.float32]":
    """The light of each of the 256 levels of sRGB (IEC 61966-2-1)."""
    import numpy as np

    levels = np.arange(256) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)
