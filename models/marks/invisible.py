"""The invisible mark: an identifier spread over a picture, found again without the original.

Spread spectrum in the frequency domain (Cox, Kilian, Leighton, Shamoon, 1997) on a tile of `TILE_PX` that repeats over
the picture, so that whatever is cut out of it holds the whole mark, shifted; an eighth of the frequencies tells the
shift. The mark lies in brightness and blueness, at frequencies that half the size and a JPEG keep, and is as strong as
the picture's own detail hides it. Given the picture and the identifier, the same pixels come out, bit for bit.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.marks.error_correction import CODED_BITS, FALSE_WORD, decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

TILE_PX = 128
MIN_SIDE_PX = 64
"""Smaller pictures are not marked: there is no room for the identifier."""
_SEED = 0x1A6E5
_SYNC_SHARE = 8
"""One of so many of the mark's values is known."""
_BANDS, _LEAST_TRUST = 3, 0.01
_EXTREME = 1.5
"""By how much the mark is stronger in white and black."""
_COARSE_PX, _NEARBY = 4, 5
"""The strength is the same in squares of so many pixels; of so many squares around, the plainest counts."""
_LOOKED_AT_PX = 1536
"""Of each side of a picture, in the middle, the mark is looked for."""


class _Channel(NamedTuple):
    """How the mark lies in one plane of a picture.

    Attributes:
        lowest, highest: radii of its frequencies, in periods a tile.
        flat, strongest: its standard deviation, in levels of 255, where the picture is flat, and at most.
        of_detail: the same as a share of the picture's own detail.
        error: its mean square, in levels, at most.
    """

    lowest: int
    highest: int
    flat: float
    strongest: float
    of_detail: float
    error: float


_BRIGHT = _Channel(4, 20, 0.9, 4.5, 0.35, 2.9)
_TINT = _Channel(3, 14, 1.8, 3.5, 0.5, 3.2)
_CHANNELS = (_BRIGHT, _TINT)
_OF_TINT = np.array([0, -0.344, 1.772], np.float32)
"""A level of blueness in red, green and blue (JFIF)."""
_NOISE = 2.0
"""Levels of noise that are no detail."""
SCALES = (1.0, 2.0, 0.5, 0.95, 0.9, 1.05)
"""By how much a picture is enlarged before the mark is looked for: the sizes that copies often have."""
_SHIFTS = 3
FALSE_FINDS = len(SCALES) * _SHIFTS * FALSE_WORD
"""Bound of the chance that an identifier is found in a picture that has none: about 4e-9."""


class _Layout(NamedTuple):
    """Where on a tile's spectrum what is: rows and columns of the frequencies, and their numbers among real values."""

    rows: "NDArray[np.intp]"
    columns: "NDArray[np.intp]"
    radii: "NDArray[np.intp]"
    bands: "NDArray[np.intp]"
    signs: "Plane"
    sync: "NDArray[np.intp]"
    data: "NDArray[np.intp]"


def mark_pixels(pixels: "NDArray[np.uint8]", identifier: bytes, strength: float = 1.0) -> "NDArray[np.uint8]":
    """A copy of a picture, uint8 (H, W, 3), with the identifier (6 bytes) in it; unchanged below `MIN_SIDE_PX`.

    Args:
        strength: of the mark; at 1 the change is at most 40 dB below a picture's range, but in white and black.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        return pixels.copy()
    repeats = (-(-height // TILE_PX), -(-width // TILE_PX))
    planes = _planes(pixels)
    # Where a picture is all white or all black, half of the mark is cut off.
    extreme = np.where(np.abs(planes[0] - 127.5) > 124, np.float32(_EXTREME), np.float32(1))
    bright, tint = (
        np.tile(_pattern(identifier, channel), repeats)[:height, :width] * _strength(plane, channel) * extreme
        for plane, channel in zip(planes, _CHANNELS, strict=True)
    )
    change = np.float32(strength) * (bright[..., None] + tint[..., None] * _OF_TINT)
    return np.clip(pixels + np.rint(change), 0, 255).astype(np.uint8)


def _strength(plane: "Plane", channel: "_Channel") -> "Plane":
    """How strong the mark is at each pixel: no more than the picture's detail hides, nor than the error allows."""
    from scipy.ndimage import minimum_filter

    # The least nearby, so that a plain ground beside an edge counts as plain.
    detail = minimum_filter(_detail(plane)[1][::_COARSE_PX, ::_COARSE_PX], _NEARBY, mode="reflect")
    strength = np.clip(channel.of_detail * detail, channel.flat, channel.strongest)
    strongest = channel.strongest
    while float(np.mean(strength * strength)) > channel.error:
        strongest *= 0.9
        strength = np.minimum(strength, strongest)
    fine: Plane = strength.repeat(_COARSE_PX, 0).repeat(_COARSE_PX, 1)[: plane.shape[0], : plane.shape[1]]
    return fine


def find_mark(pixels: "NDArray[np.uint8]", scales: "Sequence[float]" = SCALES) -> bytes | None:
    """The identifier in a picture, uint8 (H, W, 3), cut out and a little damaged perhaps; None if there is none.

    Args:
        scales: by how much the picture is enlarged, in turn, to look for it.
    """
    planes = _planes(_middle(pixels))
    for scale in scales:
        if identifier := _found([plane if scale == 1 else _scaled(plane, scale) for plane in planes]):
            return identifier
    return None


def _middle(pixels: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """As much of a picture as is needed: the mark is all over it."""
    top, left = (max(side - _LOOKED_AT_PX, 0) // 2 for side in pixels.shape[:2])
    return pixels[top : top + _LOOKED_AT_PX, left : left + _LOOKED_AT_PX]


def _found(planes: "Sequence[Plane]") -> bytes | None:
    if min(planes[0].shape) < MIN_SIDE_PX // 2:
        return None
    seen = [_whitened(plane, channel) for plane, channel in zip(planes, _CHANNELS, strict=True)]
    words = [
        np.sum([_soft(plane, channel, shift) for plane, channel in zip(seen, _CHANNELS, strict=True)], axis=0)
        for shift in _likely_shifts(seen)
    ]
    return decoded(np.array(words, np.float32))


def _soft(seen: "NDArray[np.complex128]", channel: "_Channel", shift: int) -> "NDArray[Any]":
    """What a plane says of each coded bit, if the tiles begin there."""
    layout = _layout(channel)
    rows, columns = divmod(shift, TILE_PX)
    turned = seen * np.exp(2j * np.pi / TILE_PX * (layout.rows * rows + layout.columns * columns))
    values = np.stack([turned.real, turned.imag], -1).ravel() * layout.signs
    # How much the known part tells says how far the rest is to be trusted, at these frequencies.
    bands = layout.bands[layout.sync]
    trust = np.bincount(bands, values[layout.sync], _BANDS) / np.bincount(bands, minlength=_BANDS)
    values *= np.maximum(trust, _LEAST_TRUST)[layout.bands]
    return np.bincount(np.arange(len(layout.data)) % CODED_BITS, values[layout.data].astype(float), CODED_BITS)


def _whitened(plane: "Plane", channel: "_Channel") -> "NDArray[np.complex128]":
    """What a plane says at the mark's frequencies, as strong at each radius."""
    layout = _layout(channel)
    fine, deviation = _detail(plane)
    seen = np.fft.fft2(_folded(fine / (deviation + _NOISE)))[layout.rows, layout.columns]
    power = np.bincount(layout.radii, np.abs(seen) ** 2) / np.maximum(np.bincount(layout.radii), 1)
    even: NDArray[np.complex128] = seen / (power[layout.radii] + 1e-9) ** 0.5
    return even


def _likely_shifts(seen: "Sequence[NDArray[np.complex128]]") -> "list[int]":
    """Where tiles may begin, row by row, the likeliest first, by the known part of the mark."""
    product = np.zeros((TILE_PX, TILE_PX), complex)
    for plane, channel in zip(seen, _CHANNELS, strict=True):
        layout = _layout(channel)
        known = np.zeros(2 * len(layout.rows))
        known[layout.sync] = layout.signs[layout.sync]
        product[layout.rows, layout.columns] += plane * (known[::2] - 1j * known[1::2])
    likeness = np.fft.ifft2(product).real.ravel()
    top = np.argpartition(likeness, -_SHIFTS)[-_SHIFTS:]
    return [int(place) for place in top[np.argsort(-likeness[top])]]


def _pattern(identifier: bytes, channel: "_Channel") -> "Plane":
    """The tile of an identifier: mean 0, standard deviation 1."""
    layout = _layout(channel)
    values = layout.signs.copy()
    values[layout.data] *= np.resize(encoded(identifier), len(layout.data))
    spectrum = np.zeros((TILE_PX, TILE_PX), np.complex128)
    spectrum[layout.rows, layout.columns] = values[::2] + 1j * values[1::2]
    tile = np.fft.ifft2(spectrum).real
    even: Plane = (tile / tile.std()).astype(np.float32)
    return even


@cache
def _layout(channel: _Channel) -> _Layout:
    frequency = np.fft.fftfreq(TILE_PX, 1 / TILE_PX)
    down, across = np.meshgrid(frequency, frequency, indexing="ij")
    radius = np.hypot(down, across)
    # One of each pair of opposite frequencies: the tile is real.
    mine = (radius >= channel.lowest) & (radius <= channel.highest) & ((down > 0) | ((down == 0) & (across > 0)))
    rows, columns = np.nonzero(mine)
    random = np.random.Generator(np.random.PCG64(_SEED + channel.lowest))
    count = 2 * len(rows)
    signs = (random.integers(0, 2, count) * 2 - 1).astype(np.float32)
    order = random.permutation(count)
    sync = np.sort(order[: count // _SYNC_SHARE])
    radii = radius[rows, columns].astype(np.intp)
    bands = np.repeat((radii - channel.lowest) * _BANDS // (channel.highest - channel.lowest + 1), 2)
    return _Layout(rows, columns, radii, bands, signs, sync, order[count // _SYNC_SHARE :])


def _planes(pixels: "NDArray[np.uint8]") -> "tuple[Plane, Plane]":
    """Brightness, and blueness (Cb of JFIF), in levels."""
    colours = pixels.astype(np.float32)
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma, (colours[..., 2] - luma) * np.float32(1 / 1.772)


def _detail(luma: "Plane") -> "tuple[Plane, Plane]":
    """What is left of a picture without its broad shapes, and the standard deviation of that around each pixel."""
    from scipy.ndimage import uniform_filter

    fine = luma - uniform_filter(luma, 15, mode="reflect")
    power = uniform_filter(fine * fine, 9, mode="reflect")
    return fine, np.sqrt(np.maximum(power, 0))


def _folded(plane: "Plane") -> "Plane":
    """The sum of all tiles of a plane; what is missing at the right and at the bottom is 0."""
    height, width = plane.shape
    full = np.zeros((-(-height // TILE_PX) * TILE_PX, -(-width // TILE_PX) * TILE_PX), np.float32)
    full[:height, :width] = plane
    folded: Plane = full.reshape(-1, TILE_PX, full.shape[1] // TILE_PX, TILE_PX).sum((0, 2))
    return folded


def _scaled(luma: "Plane", scale: float) -> "Plane":
    from PIL import Image

    size = tuple(max(round(side * scale), 1) for side in luma.shape[::-1])
    return np.asarray(Image.fromarray(luma).resize(size, Image.Resampling.BICUBIC))
