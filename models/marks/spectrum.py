"""Where the invisible mark lies: frequencies of a tile that repeats over the planes of a picture."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.marks.error_correction import CODED_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]
    Values = NDArray[np.float64]

TILE_PX = 128
_SEED = 0x1A6E5
_SYNC_SHARE = 5
"""One of so many of the mark's values is known."""
_BAND = 4
"""Periods a tile, between which values are trusted alike."""
_NOISE = 2.0
"""Levels of noise that are no detail."""
_BOX_PX = 15
COARSE_PX, _AROUND = 4, 3
"""A picture's detail is told for squares of so many pixels, from so many around."""


class Channel(NamedTuple):
    """How the mark lies in one plane of a picture.

    Attributes:
        plane: 0 for brightness, 1 for blueness.
        lowest, highest: radii of its frequencies, in periods a tile.
        flat, strongest: its standard deviation, in levels of 255, where the picture is flat, and at most.
        of_detail, less: it is this share of the picture's own detail, less so many levels.
        white: by how much it is stronger in white, where half of it is cut off.
        error: its mean square, in levels, at most.
        noise: the mean square of what a usual encoder adds at each of its frequencies, in levels.
    """

    plane: int
    lowest: int
    highest: int
    flat: float
    strongest: float
    of_detail: float
    less: float
    white: float
    error: float
    noise: float


BROAD = Channel(0, 4, 17, 1.2, 4.5, 0.35, 0, 1.3, 2.2, 4)
FINE = Channel(0, 18, 30, 0, 5, 0.4, 1, 1.3, 6, 6)
"""Only where there is detail: encoders drop it elsewhere."""
TINT = Channel(1, 3, 14, 1.3, 4, 0.5, 0, 2.2, 3.2, 27)
CHANNELS = (BROAD, FINE, TINT)


class Layout(NamedTuple):
    """Where a channel's values are on a tile's spectrum: two for each of its frequencies.

    Attributes:
        rows, columns: of the frequencies.
        radii: of the frequencies, in periods a tile.
        signs: of the values, as a secret that finder and marker share.
        groups: the coded bit that each value tells of; `CODED_BITS` for the known ones.
        bands: of the values.
        passed: the share of each frequency that `fine_of` keeps.
    """

    rows: "NDArray[np.intp]"
    columns: "NDArray[np.intp]"
    radii: "NDArray[np.intp]"
    signs: "Values"
    groups: "NDArray[np.intp]"
    bands: "NDArray[np.intp]"
    passed: "Values"


@cache
def layout_of(channel: Channel) -> Layout:
    """The layout of a channel, always the same."""
    frequency = np.fft.fftfreq(TILE_PX, 1 / TILE_PX)
    down, across = np.meshgrid(frequency, frequency, indexing="ij")
    radius = np.hypot(down, across)
    # One of each pair of opposite frequencies: the tile is real.
    mine = (radius >= channel.lowest) & (radius <= channel.highest) & ((down > 0) | ((down == 0) & (across > 0)))
    random = np.random.Generator(np.random.PCG64(_SEED + 7 + channel.lowest))
    count = 2 * int(mine.sum())
    signs = (random.integers(0, 2, count) * 2 - 1).astype(np.float64)
    order = random.permutation(count)
    known = count // _SYNC_SHARE
    groups = np.full(count, CODED_BITS)
    groups[order[known:]] = np.arange(count - known) % CODED_BITS
    radii = radius[mine].astype(np.intp)
    bands = np.repeat((radii - channel.lowest) // _BAND, 2)
    passed: Values = 1 - _averaged(down[mine]) * _averaged(across[mine])
    rows, columns = np.nonzero(mine)
    return Layout(rows, columns, radii, signs, groups, bands, passed)


def _averaged(periods: "Values") -> "Values":
    """The share of a wave, in periods a tile, that the mean of `_BOX_PX` pixels keeps."""
    angle = np.pi * periods / TILE_PX + 1e-12
    share: Values = np.sin(_BOX_PX * angle) / (_BOX_PX * np.sin(angle))
    return share


def planes_of(pixels: "NDArray[np.uint8]") -> "tuple[Plane, Plane]":
    """Brightness, and blueness (Cb of JFIF), in levels, of a picture, uint8 (H, W, 3)."""
    colours = pixels.astype(np.float32)
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma, (colours[..., 2] - luma) * np.float32(1 / 1.772)


class Detail(NamedTuple):
    """A plane without its broad shapes, each part of it as strong, and how strong it was.

    Attributes:
        fine: (H, W), times `trust`.
        deviation: around each square of `COARSE_PX`, in levels.
        trust: of each of these squares.
    """

    fine: "Plane"
    deviation: "Plane"
    trust: "Plane"


def detail_of(plane: "Plane", told: "Plane | None" = None) -> Detail:
    """The detail of a plane.

    Args:
        told: 1 at each pixel that tells something, 0 at others, which then have no detail; None if all do.
    """
    from scipy.ndimage import uniform_filter

    if told is None:
        fine = plane - uniform_filter(plane, _BOX_PX, mode="reflect")
    else:
        around, share = (uniform_filter(one, _BOX_PX, mode="reflect") for one in (plane * told, told))
        fine = (plane - around / np.maximum(share, 1e-6)) * told
    height, width = (-(-side // COARSE_PX) for side in plane.shape)
    gaps = [(0, size * COARSE_PX - side) for size, side in zip((height, width), plane.shape, strict=True)]
    squares = np.pad(fine, gaps, "edge") if any(gap for _, gap in gaps) else fine
    cut = squares.reshape(height, COARSE_PX, width, COARSE_PX)
    power = np.einsum("ykxl,ykxl->yx", cut, cut) / np.float32(COARSE_PX**2)
    deviation = np.sqrt(np.maximum(uniform_filter(power, _AROUND, mode="reflect"), 0))
    trust = 1 / (deviation + np.float32(_NOISE))
    return Detail(fine * in_full(trust, plane), deviation, trust)


def in_full(coarse: "Plane", plane: "Plane") -> "Plane":
    """A value of each square of `COARSE_PX` at each pixel of a plane."""
    full: Plane = coarse.repeat(COARSE_PX, 0).repeat(COARSE_PX, 1)[: plane.shape[0], : plane.shape[1]]
    return full


def spectrum_of(fine: "Plane") -> "NDArray[np.complex128]":
    """The spectrum of the sum of all tiles of a plane; what is missing at the right and at the bottom is 0."""
    height, width = fine.shape
    full = np.zeros((-(-height // TILE_PX) * TILE_PX, -(-width // TILE_PX) * TILE_PX), np.float32)
    full[:height, :width] = fine
    folded = full.reshape(-1, TILE_PX, full.shape[1] // TILE_PX, TILE_PX).sum((0, 2))
    spectrum: NDArray[np.complex128] = np.fft.fft2(folded)
    return spectrum


def radial_power(seen: "NDArray[np.complex128]", layout: Layout) -> "Values":
    """The mean square of a channel's frequencies at the radius of each of them."""
    power = np.bincount(layout.radii, np.abs(seen) ** 2) / np.maximum(np.bincount(layout.radii), 1)
    even: Values = power[layout.radii] + 1e-9
    return even


def real_values(seen: "NDArray[np.complex128]") -> "Values":
    """The two values of each frequency, one after the other."""
    values: Values = np.stack([seen.real, seen.imag], -1).ravel()
    return values
