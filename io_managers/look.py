"""What a picture looks like, in two values small enough for every row of a manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class Look:
    """Two values of a picture that is shrunk to about 64 px first.

    Attributes:
        spread: standard deviation of the colour channel that varies most, 0..127.5 of 255 levels.
        fingerprint: 32 hex digits, equal for equal pixels.
    """

    spread: float
    fingerprint: str


def look_at(image: Image) -> Look:
    """The look of a picture of any mode; takes well under a millisecond for 512×512 px."""
    from PIL import ImageStat

    small = image.convert("RGB").reduce(max(1, max(image.size) // _SIDE_PX))
    digest = hashlib.blake2b(f"{image.width}x{image.height}".encode() + small.tobytes(), digest_size=16)
    return Look(round(max(ImageStat.Stat(small).stddev), 2), digest.hexdigest())
