"""The colours of an enlarged picture brought back to those of the picture that it was made of.

A super-resolution network paints detail, and shifts colours as it goes: saturated ones most, which are rare where it
was trained. What both pictures have in common, everything coarser than about two pixels of the smaller one, is the
smaller one's; finer than that, the network's own. (The low-frequency part of iterative back-projection: Irani and
Peleg, CVGIP 1991.)
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIGMA_PX = 2.0
"""Of the Gaussian that takes the coarse part of a difference, in pixels of the smaller picture."""

_REACH_PX = math.ceil(3 * SIGMA_PX)
_STRIP_PIXELS = 2**21


def anchor_rule() -> str:
    """What is done to the colours, for recipes."""
    return f"the picture's, below {SIGMA_PX:g} px"


def anchor_colours(enlarged: Pixels, picture: Pixels) -> None:
    """Correct an enlarged picture in place, a strip of rows at a time.

    Args:
        enlarged: uint8 RGB of shape (scale·H, scale·W, 3).
        picture: what it was made of, uint8 RGB of shape (H, W, 3).
    """
    scale, height = enlarged.shape[0] // picture.shape[0], picture.shape[0]
    difference = np.empty(picture.shape, np.float16)
    for start, stop in _strips(picture.shape, scale):
        reduced = _reduced(enlarged[start * scale : stop * scale], scale)
        difference[start:stop] = picture[start:stop] - reduced
    for start, stop in _strips(picture.shape, scale):
        top, bottom = max(start - _REACH_PX - 1, 0), min(stop + _REACH_PX + 1, height)
        coarse = _enlarged(_coarse(difference[top:bottom]), scale)
        rows = slice(start * scale, stop * scale)
        corrected = enlarged[rows] + coarse[(start - top) * scale : (stop - top) * scale]
        enlarged[rows] = corrected.round().clip(0, 255).astype(np.uint8)


def _strips(shape: tuple[int, ...], scale: int) -> Iterator[tuple[int, int]]:
    """Rows of the smaller picture, so many that their enlarged pixels stay below a bound."""
    rows = max(_STRIP_PIXELS // (shape[1] * scale**2), 1)
    return ((start, min(start + rows, shape[0])) for start in range(0, shape[0], rows))


def _reduced(enlarged: Pixels, scale: int) -> NDArray[np.float32]:
    """The mean of each block of scale × scale pixels."""
    blocks = enlarged.reshape(enlarged.shape[0] // scale, scale, -1, scale, 3)
    mean: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return mean


def _coarse(difference: NDArray[np.float16]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    sigmas = (SIGMA_PX, SIGMA_PX, 0)
    coarse: NDArray[np.float32] = gaussian_filter(difference.astype(np.float32), sigmas, mode="nearest", truncate=3.0)
    return coarse


def _enlarged(coarse: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Enlarged with bilinear weights; beyond the edge it goes on as at the edge."""
    for axis in (0, 1):
        length = coarse.shape[axis]
        places = ((np.arange(length * scale) + 0.5) / scale - 0.5).clip(0, length - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, length - 1)
        weight = (places - before).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        coarse = coarse.take(before, axis) * (1 - weight) + coarse.take(after, axis) * weight
    return coarse
