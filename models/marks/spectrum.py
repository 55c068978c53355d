"""Where the invisible mark lies: frequencies of a tile that repeats over the planes of a picture."""

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Amount(NamedTuple):
    """How strong the mark may be in a channel.

    Attributes:
        flat: its standard deviation, in levels of 255, where the picture is flat.
        white: by how much it is stronger in white, where half of it is cut off.
        error: its mean square, in levels, at most.
    """

    flat: float
    white: float
    error: float


class Channel(NamedTuple):
    """How the mark lies in one plane of a picture.

    Attributes:
        plane: 0 for brightness, 1 for blueness.
        lowest, highest: radii of its frequencies, in periods a tile.
        small, large: how strong it may be in a picture of few and of many tiles.
        strongest: its standard deviation, in levels of 255, at most.
        of_detail, less: it is this share of the picture's own detail, less so many levels.
        noise: the mean square of what a usual encoder adds at each of its frequencies, in levels.
    """

    plane: int
    lowest: int
    highest: int
    small: Amount
    large: Amount
    strongest: float
    of_detail: float
    less: float
    noise: float

    def amount(self, tiles: float) -> Amount:
        """How strong it may be in a picture of so many tiles: up to 8 are few, and from 16 on they are many."""
        few = min(max(2 - tiles / 8, 0), 1)
        return Amount(*(few * one + (1 - few) * other for one, other in zip(self.small, self.large, strict=True)))


BROAD = Channel(0, 4, 17, Amount(1.3, 1.2, 2.6), Amount(0.8, 0.8, 2.2), 4.5, 0.35, 0, 4)
FINE = Channel(0, 18, 30, Amount(0, 1.3, 6), Amount(0, 1.3, 6), 5, 0.4, 1, 6)
"""Only where there is detail: encoders drop it elsewhere."""
TINT = Channel(1, 3, 14, Amount(1.7, 1.3, 3.1), Amount(2.15, 0.8, 6), 4, 0.5, 0, 27)
"""It is seen less than the others: where many tiles tell of it, it bears nearly all of the mark of a flat ground."""
CHANNELS = (BROAD, FINE, TINT)
_REACH = max(channel.highest for channel in CHANNELS)


class Layout(NamedTuple):
    """Where a channel's values are on a tile's spectrum: two for each of its frequencies.

    Attributes:
        rows, columns: of the frequencies: from 0 on, and from -`_REACH` on, in periods a tile.
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
    rows, columns = (one[mine].astype(np.intp) for one in (down, across))
    return Layout(rows, columns, radii, signs, groups, bands, passed)


def _averaged(periods: "Values") -> "Values":
    """The share of a wave, in periods a tile, that the mean of `_BOX_PX` pixels keeps."""
    angle = np.pi * periods / TILE_PX + 1e-12
    share: Values = np.sin(_BOX_PX * angle) / (_BOX_PX * np.sin(angle))
    return share


def planes_of(pixels: "NDArray[np.uint8]") -> "tuple[Plane, Plane]":
    """Brightness, and blueness (Cb of JFIF), in levels, of a picture, uint8 (H, W, 3)."""
    # Sums of products by a library for matrices would be others on another processor.
    red, green, blue = (pixels[..., place].astype(np.float32) for place in range(3))
    luma = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    return luma, (blue - luma) * np.float32(1 / 1.772)


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
    if told is None:
        fine = plane - _mean_around(plane, _BOX_PX)
    else:
        mean, share = (_mean_around(one, _BOX_PX) for one in (plane * told, told))
        fine = (plane - mean / np.maximum(share, 1e-6)) * told
    height, width = (-(-side // COARSE_PX) for side in plane.shape)
    gaps = [(0, size * COARSE_PX - side) for size, side in zip((height, width), plane.shape, strict=True)]
    squares = np.pad(fine, gaps, "edge") if any(gap for _, gap in gaps) else fine
    cut = squares.reshape(height, COARSE_PX, width, COARSE_PX)
    power = np.einsum("ykxl,ykxl->yx", cut, cut) / np.float32(COARSE_PX**2)
    deviation: Plane = np.sqrt(_mean_around(power, _AROUND))
    trust = np.float32(1) / (deviation + np.float32(_NOISE))
    return Detail(fine * in_full(trust, plane), deviation, trust)


def around(plane: "NDArray[Any]", width: int, combine: "np.ufunc") -> "NDArray[Any]":
    """So many (odd) by so many values around each of a plane, mirrored at its edges, combined: added, the least, …"""
    height, width_px = plane.shape
    down = _of_rows(plane[_mirrored(height, width // 2)], width, combine)
    return _of_rows(down.take(_mirrored(width_px, width // 2), 1).T, width, combine).T


def _of_rows(rows: "NDArray[Any]", count: int, combine: "np.ufunc") -> "NDArray[Any]":
    """So many rows one after the other, from each on that has them, combined: first 2, 4, 8 … of them, then these."""
    powers, size, height = rows, 1, len(rows) - count + 1
    total, at = rows[:height], 1  # as `count` is odd
    while 2 * size <= count:
        powers = combine(powers[:-size], powers[size:])
        size *= 2
        if count & size:
            total, at = combine(total, powers[at : at + height]), at + size
    return total


@lru_cache
def _mirrored(length: int, beside: int) -> "NDArray[np.intp]":
    """The places of so many values, and of those that stand for so many beside them."""
    return np.pad(np.arange(length), beside, "symmetric")


def _mean_around(plane: "Plane", width: int) -> "Plane":
    mean: Plane = around(plane, width, np.add) * np.float32(1 / width**2)
    return mean


def in_full(coarse: "Plane", plane: "Plane") -> "Plane":
    """A value of each square of `COARSE_PX` at each pixel of a plane."""
    full: Plane = coarse.repeat(COARSE_PX, 0).repeat(COARSE_PX, 1)[: plane.shape[0], : plane.shape[1]]
    return full


def spectrum_of(fine: "Plane") -> "NDArray[np.complex128]":
    """The spectrum of the sum of all tiles of a plane, in the columns that channels have, the negative ones behind.

    What a tile lacks at the right and at the bottom is 0.
    """
    height, width = fine.shape
    full = np.zeros((-(-height // TILE_PX) * TILE_PX, -(-width // TILE_PX) * TILE_PX), np.float32)
    full[:height, :width] = fine
    folded = full.reshape(-1, TILE_PX, full.shape[1] // TILE_PX, TILE_PX).sum((0, 2))
    half = np.fft.rfft(folded, axis=1)[:, : _REACH + 1]
    spectrum: NDArray[np.complex128] = np.fft.fft(np.hstack((half, half[:, :0:-1].conj())), axis=0)
    return spectrum


def no_spectrum() -> "NDArray[np.complex128]":
    """The rows of a tile's spectrum that channels have, all 0."""
    return np.zeros((_REACH + 1, TILE_PX), np.complex128)


def tile_of(spectrum: "NDArray[np.complex128]") -> "Values":
    """The tile, its real part, whose spectrum has these rows and no others."""
    tile: Values = np.fft.ifft(np.fft.ifft(spectrum, axis=1), TILE_PX, axis=0).real
    return tile


def radial_power(seen: "NDArray[np.complex128]", layout: Layout) -> "Values":
    """The mean square of a channel's frequencies at the radius of each of them."""
    power = np.bincount(layout.radii, np.abs(seen) ** 2) / np.maximum(np.bincount(layout.radii), 1)
    even: Values = power[layout.radii] + 1e-9
    return even


def real_values(seen: "NDArray[np.complex128]") -> "Values":
    """The two values of each frequency, one after the other."""
    values: Values = np.stack([seen.real, seen.imag], -1).ravel()
    return values
