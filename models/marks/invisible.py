"""Finding the invisible mark: an identifier spread over a picture, read without the original.

Spread spectrum in the frequency domain (Cox, Kilian, Leighton, Shamoon, 1997) on a tile that repeats over the picture,
so that whatever is cut out of it holds the whole mark, shifted; a fifth of the values is known and tells the shift, and
how far each band of frequencies is to be trusted. `embedding` makes it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from models.marks.embedding import MIN_SIDE_PX
from models.marks.error_correction import CODED_BITS, FALSE_WORD, corrected, decoded, most_likely
from models.marks.spectrum import (
    CHANNELS,
    TILE_PX,
    Channel,
    around,
    detail_of,
    layout_of,
    no_spectrum,
    planes_of,
    radial_power,
    real_values,
    spectrum_of,
    tile_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.marks.spectrum import Plane, Values

    Seen = NDArray[np.complex128]

_LEAST_TRUST = 0.02
_SOON_PX, _LOOKED_AT_PX = 256, 1536
"""Of each side of a picture, in the middle, the mark is looked for: first where it is found soonest."""
SCALES = (1.0, 2.0, 0.5, 0.95, 0.9, 1.05)
"""By how much a picture is enlarged before the mark is looked for: the sizes that copies often have."""
_WHITE, _MUCH, _BESIDE_PX = 253, 0.1, 5
"""What is as bright is white; the share of it in which a mark may be lost; of so many pixels around, none may be so."""
_SHIFTS = 3
_TURNS = np.exp(2j * np.pi / TILE_PX * np.arange(TILE_PX))
"""What a shift by a pixel does to a wave of so many periods a tile."""
FALSE_FINDS = (1 + len(SCALES)) * _SHIFTS * 4 * FALSE_WORD
"""Bound of the chance that an identifier is found in a picture that has none: about 2e-8."""


def find_mark(pixels: "NDArray[np.uint8]", scales: "Sequence[float]" = SCALES) -> bytes | None:
    """The identifier in a picture, uint8 (H, W, 3), cut out and a little damaged perhaps; None if there is none.

    Args:
        scales: by how much the picture is enlarged, in turn, to look for it.
    """
    middle = _middle(pixels, _SOON_PX)
    soon = _looked_for(middle, scales[:1]) if middle.size < pixels.size else None
    return soon or _looked_for(_middle(pixels, _LOOKED_AT_PX), scales)


def _looked_for(pixels: "NDArray[np.uint8]", scales: "Sequence[float]") -> bytes | None:
    planes, told = planes_of(pixels), _told(pixels)
    for scale in scales:
        scaled = [plane if scale == 1 else _scaled(plane, scale) for plane in planes]
        if identifier := _found(scaled):
            return identifier
        if told is not None and (identifier := _found(scaled, told if scale == 1 else _scaled(told, scale))):
            return identifier
    return None


def _told(pixels: "NDArray[np.uint8]") -> "Plane | None":
    """1 where a picture may tell of its mark, 0 in and beside white, which a brighter copy has in its stead."""
    red, green, blue = (pixels[..., place] for place in range(3))
    white = np.minimum(np.minimum(red, green), blue) >= _WHITE
    if np.count_nonzero(white) < _MUCH * white.size:
        return None
    told: Plane = (~around(white, _BESIDE_PX, np.maximum)).astype(np.float32)
    return told


def _middle(pixels: "NDArray[np.uint8]", most_px: int) -> "NDArray[np.uint8]":
    """So much of a picture at most: the mark is all over it."""
    top, left = (max(side - most_px, 0) // 2 for side in pixels.shape[:2])
    return pixels[top : top + most_px, left : left + most_px]


def _found(planes: "Sequence[Plane]", told: "Plane | None" = None) -> bytes | None:
    if min(planes[0].shape) < MIN_SIDE_PX // 2:
        return None
    spectra = [spectrum_of(detail_of(plane, told).fine) for plane in planes]
    seen = [_whitened(spectra[channel.plane], channel) for channel in CHANNELS]
    shifts = _likely_shifts(seen)
    likely = most_likely(_words(seen, shifts, np.zeros((len(shifts), CODED_BITS))))
    # What was likely said tells better how far each band is to be trusted than the known part alone.
    return decoded(likely) or decoded(most_likely(_words(seen, shifts, corrected(likely))))


def _words(seen: "Sequence[Seen]", shifts: "Sequence[int]", likely: "NDArray[Any]") -> "NDArray[np.float32]":
    """What is said of each coded bit if the tiles begin there, and if it likely is +1, -1, or not known: 0."""
    return np.array(
        [
            sum(_soft(one, channel, shift, np.append(code, 1)) for one, channel in zip(seen, CHANNELS, strict=True))
            for shift, code in zip(shifts, likely, strict=True)
        ],
        np.float32,
    )


def _whitened(spectrum: "Seen", channel: Channel) -> "Seen":
    """What a plane says at a channel's frequencies, as strong at each radius."""
    layout = layout_of(channel)
    seen = spectrum[layout.rows, layout.columns]
    return seen / radial_power(seen, layout) ** 0.5


def _soft(seen: "Seen", channel: Channel, shift: int, code: "Values") -> "Values":
    layout = layout_of(channel)
    rows, columns = divmod(shift, TILE_PX)
    turned = seen * _TURNS[(layout.rows * rows + layout.columns * columns) % TILE_PX]
    values, hoped = real_values(turned) * layout.signs, code[layout.groups]
    # How much of what is hoped for is there says how far all is to be trusted, at these frequencies.
    trust = np.bincount(layout.bands, values * hoped) / np.maximum(np.bincount(layout.bands, np.abs(hoped)), 1)
    trusted = values * np.maximum(trust, _LEAST_TRUST)[layout.bands]
    return np.bincount(layout.groups, trusted)[:CODED_BITS].astype(np.float64)


def _likely_shifts(seen: "Sequence[Seen]") -> "list[int]":
    """Where tiles may begin, row by row, the likeliest first, by the known part of the mark."""
    product = no_spectrum()
    for one, channel in zip(seen, CHANNELS, strict=True):
        layout = layout_of(channel)
        known = layout.signs * (layout.groups == CODED_BITS)
        product[layout.rows, layout.columns] += one * (known[::2] - 1j * known[1::2])
    likeness = tile_of(product).ravel()
    top = np.argpartition(likeness, -_SHIFTS)[-_SHIFTS:]
    return [int(place) for place in top[np.argsort(-likeness[top])]]


def _scaled(luma: "Plane", scale: float) -> "Plane":
    from PIL import Image

    size = tuple(max(round(side * scale), 1) for side in luma.shape[::-1])
    return np.asarray(Image.fromarray(luma).resize(size, Image.Resampling.BICUBIC))
