"""Hiding an identifier in a picture: the invisible mark, made for the very picture that bears it.

The detail of a picture is noise to who looks for the mark, but it is known to who makes it: informed embedding (Miller,
Doerr, Cox, 2004). Each coded bit gets as much as it needs to be read with the same margin over what the picture says
against it, and all together as much as may not be seen. The same pixels come out, bit for bit.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.marks.error_correction import CODED_BITS, encoded
from models.marks.spectrum import (
    CHANNELS,
    COARSE_PX,
    FINE,
    TILE_PX,
    Amount,
    Channel,
    Detail,
    Layout,
    around,
    detail_of,
    in_full,
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

MIN_SIDE_PX = 64
"""Smaller pictures are not marked: there is no room for the identifier."""
_ERROR = 6.2
"""Mean square of the change, in levels: 40 dB below a picture's range."""
_BRIGHT, _WHITE, _BESIDE = 229, 251.5, 0.9
"""From this level on a little more light makes white; what is above this is white; by how much the mark is stronger
elsewhere if all is so bright."""
_NEARBY = 5
"""Of so many squares around, the plainest says how strong the mark may be."""
_KEPT = 0.3
"""The share of a picture's own power that a crop or an encoder sets free again."""
_LEAST, _MOST = 0.6, 3.0
"""Of the mean strength, for each bit."""
_FINEST, _TINT_ERROR = CHANNELS.index(FINE), 1.086
"""A level of blueness changes colours by so much, in mean square."""
_OF_TINT = np.array([0, -0.344, 1.772], np.float32)
"""A level of blueness in red, green and blue (JFIF)."""


class _Part(NamedTuple):
    """The mark in one channel of one picture.

    Attributes:
        signs: of its values, with the identifier.
        room: how strong it may be in each square of `COARSE_PX`.
        shape: the strength of its values, the sum of their squares given.
        weights: by which values are read.
        gain: what is read of a value that is 1 strong.
    """

    channel: Channel
    layout: Layout
    signs: "Values"
    room: "Plane"
    shape: "Values"
    weights: "Values"
    gain: "Values"

    def read(self, spectra: "Sequence[NDArray[np.complex128]]") -> "Values":
        """How much a picture's spectra say for each bit of the mark."""
        seen = spectra[self.channel.plane][self.layout.rows, self.layout.columns]
        return self._sums(self.weights * self.signs * real_values(seen))

    @property
    def reach(self) -> "Values":
        """By how much that grows for each bit, at strength 1."""
        return self._sums(self.weights * self.shape * self.gain)

    @property
    def cost(self) -> "Values":
        """The power that each bit takes, at strength 1."""
        return self._sums(self.shape**2)

    def painted(self, boosts: "Values", plane: "Plane") -> "Plane":
        """The mark, in levels, with each bit so much stronger, as large as the plane."""
        values = self.shape * self.signs * boosts[self.layout.groups]
        spectrum = no_spectrum()
        spectrum[self.layout.rows, self.layout.columns] = values[::2] + 1j * values[1::2]
        tile = tile_of(spectrum).astype(np.float32)
        height, width = plane.shape
        mark: Plane = np.tile(tile, (-(-height // TILE_PX), -(-width // TILE_PX)))[:height, :width]
        return mark * in_full(self.room, plane)

    def _sums(self, values: "Values") -> "Values":
        return np.bincount(self.layout.groups, values, CODED_BITS + 1).astype(np.float64)


def _boosts(host: "Values", reach: "Values", cost: "Values") -> "Values":
    """The strength of each bit at which all have the same margin, together as costly as strength 1 for all.

    Args:
        host: what the picture says for each bit.
        reach: what the mark adds to that, at strength 1.
        cost: the power that this takes.
    """

    usual = float(np.median(reach[:CODED_BITS]))

    def at(margin: float) -> "Values":
        wanted = margin * usual - host
        boosts: Values = np.clip(wanted / np.maximum(reach, 1e-12), _LEAST, _MOST)
        boosts[CODED_BITS] = 1
        return boosts

    below, above = -5.0, 20.0
    for _ in range(25):
        margin = (below + above) / 2
        if (at(margin) ** 2 * cost).sum() > cost.sum():
            above = margin
        else:
            below = margin
    return at(below)


class Mark:
    """An identifier (6 bytes) for a picture, uint8 (H, W, 3); none below `MIN_SIDE_PX`."""

    def __init__(self, pixels: "NDArray[np.uint8]", identifier: bytes) -> None:
        self._pixels = pixels
        self._change = _change(pixels, identifier) if min(pixels.shape[:2]) >= MIN_SIDE_PX else None

    def at(self, strength: float) -> "NDArray[np.uint8]":
        """A copy of the picture with the mark so strong: at 1 the change is at most 40 dB below a picture's range."""
        from PIL import Image, ImageChops

        if self._change is None:
            return self._pixels.copy()
        share = np.float32(strength) * self._change.share
        # Pixels are whole, so that the change alone may be rounded.
        grey = share * self._change.bright + np.float32(128.5)
        colours = [grey, *(grey + of_tint * self._change.tint for of_tint in _OF_TINT[1:] * share)]
        changes = Image.merge("RGB", [Image.fromarray(colour.clip(0, 255).astype(np.uint8)) for colour in colours])
        return np.asarray(ImageChops.add(Image.fromarray(self._pixels), changes, 1, -128))


class _Change(NamedTuple):
    """By how many levels a picture is to be brighter and bluer; the share of it that may be."""

    bright: "Plane"
    tint: "Plane"
    share: np.float32


def _change(pixels: "NDArray[np.uint8]", identifier: bytes) -> _Change:
    planes = planes_of(pixels)
    details = [detail_of(plane) for plane in planes]
    spectra = [spectrum_of(detail.fine) for detail in details]
    parts = _parts(planes[0], details, spectra, encoded(identifier))
    host, reach, cost = (sum(one) for one in zip(*((p.read(spectra), p.reach, p.cost) for p in parts), strict=True))
    boosts = _boosts(host, reach, cost)
    broad, fine, tint = (part.painted(boosts, planes[0]) for part in parts)
    bright, some = broad + fine, pixels[::2, ::2].astype(np.float32)
    change = bright[::2, ::2, None] + tint[::2, ::2, None] * _OF_TINT
    error = float(np.mean((np.clip(some + change, 0, 255) - some) ** 2))
    return _Change(bright, tint, np.float32(min((_ERROR / max(error, 1e-9)) ** 0.5, 1)))


def _parts(
    luma: "Plane", details: "Sequence[Detail]", spectra: "Sequence[NDArray[np.complex128]]", code: "NDArray[np.float32]"
) -> "list[_Part]":
    squares = luma[::COARSE_PX, ::COARSE_PX]
    bright, white = squares >= _BRIGHT, squares > _WHITE
    beside = np.where(bright, np.float32(1), np.float32(1 + _BESIDE * bright.mean()))
    parts = [
        _part(channel, details[channel.plane], spectra[channel.plane], white, beside, np.append(code, 1))
        for channel in CHANNELS
    ]
    # What tells more per change than the others bears more of it; fine detail, at most what the others leave.
    telling = [float(np.sum(part.weights * part.shape * part.gain)) for part in parts]
    shares = [min(max(one / max(telling[_FINEST], 1e-9), 0.04) ** 0.5, 1) for one in telling]
    errors = [float(np.mean(part.room**2)) * (_TINT_ERROR if part.channel.plane else 1) for part in parts]
    others = sum(share**2 * error for share, error in zip(shares, errors, strict=True)) - errors[_FINEST]
    shares[_FINEST] = min(max(_ERROR - others, 0) / max(errors[_FINEST], 1e-9), 1) ** 0.5
    return [
        part._replace(shape=part.shape * share, weights=part.weights * share)
        for part, share in zip(parts, shares, strict=True)
    ]


def _part(
    channel: Channel,
    detail: Detail,
    spectrum: "NDArray[np.complex128]",
    white: "NDArray[np.bool]",
    beside: "Plane",
    code: "Values",
) -> _Part:
    layout, trust = layout_of(channel), detail.trust
    pixels = float(trust.size * COARSE_PX**2)
    amount = channel.amount(pixels / TILE_PX**2)
    room = _room(detail.deviation, channel, amount) * np.where(white, np.float32(amount.white), beside)
    seen = spectrum[layout.rows, layout.columns]
    noise = _KEPT * radial_power(seen, layout) / 2 + channel.noise * float(np.mean(trust**2)) * pixels / 2
    told = float(np.mean(trust * room)) * pixels
    gain = told / TILE_PX**2 * layout.passed / 2
    shape = (layout.passed**2 / noise) ** 0.25
    shape *= TILE_PX**2 / (len(shape) * np.mean(shape**2)) ** 0.5  # a tile of standard deviation 1
    signs = layout.signs * code[layout.groups]
    return _Part(channel, layout, signs, room, *(np.repeat(one, 2) for one in (shape, gain / noise * shape, gain)))


def _room(deviation: "Plane", channel: Channel, amount: Amount) -> "Plane":
    """How strong the mark may be in each square: no more than the detail there hides, nor than the error allows."""
    # The least nearby, so that a plain ground beside an edge counts as plain.
    detail: Plane = around(deviation, _NEARBY, np.minimum)
    room: Plane = channel.of_detail * detail - channel.less
    room = np.clip(room, amount.flat, channel.strongest)
    strongest = channel.strongest
    while float(np.mean(room * room)) > amount.error:
        strongest *= 0.9
        room = np.minimum(room, strongest)
    return room
