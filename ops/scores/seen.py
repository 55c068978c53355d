"""A finished picture as scorers see it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ops.scores.colour_words import distance

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 256
"""Most scorers look at a picture shrunk to so much."""
SAME = 12.0
"""ΔE up to which two colours of a background are one: light falls off towards corners."""
_PLAIN = 0.6
"""Share of the frame that looks like one colour where there is a plain background."""


@dataclass(frozen=True)
class Seen:
    """A finished picture with its prompt.

    Attributes:
        whole: RGB (H, W, 3), 0..255.
        marks: the texts that were written on it after it was painted.
        model: by which it was painted.
    """

    whole: NDArray[np.uint8]
    text: str
    marks: tuple[str, ...] = ()
    model: str = ""

    @classmethod
    def of(cls, image: "Image", text: str, marks: tuple[str, ...] = (), model: str = "") -> "Seen":
        """A picture of any size and mode."""
        return cls(np.asarray(image.convert("RGB")), text, marks, model)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture at most `SIDE_PX` long."""
        from PIL import Image

        return np.asarray(Image.fromarray(self.whole).reduce(-(-max(self.whole.shape) // SIDE_PX)))

    @cached_property
    def frame(self) -> NDArray[np.uint8]:
        """The outermost pixels (N, 3)."""
        rows = self.pixels
        return np.concatenate([rows[0], rows[-1], rows[1:-1, 0], rows[1:-1, -1]])

    @cached_property
    def ground(self) -> NDArray[np.float64] | None:
        """The colour (RGB) of the plain background, None if there is none: what most of the frame looks like."""
        middle = np.median(self.frame, axis=0)
        same = distance(self.frame, middle) < SAME
        return self.frame[same].mean(axis=0) if same.mean() > _PLAIN else None

    @cached_property
    def product(self) -> NDArray[np.bool_] | None:
        """Where the picture is not its background (H, W)."""
        return None if self.ground is None else distance(self.pixels, self.ground) > SAME
