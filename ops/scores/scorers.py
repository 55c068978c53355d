"""Scorers: one number for one fault that a picture may have, 0 (surely) to 1 (surely not).

What a scorer cannot tell, such as where the product of a street scene ends, it does not score.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from foundation.errors import ImageGenXError
from foundation.problems import one_of
from ops.scores.colour_words import COLOURS, asked_colours, closeness, nearest_names, to_lab

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 256
"""Pictures are shrunk to so much before they are scored."""
_PLAIN = 0.6
"""Share of the frame that looks like one colour where there is a plain background."""
_SAME = 12.0
"""ΔE up to which two colours of a background are one: light falls off towards corners."""


_LEAST = 50
"""So few pixels of a product tell no colour."""
_NEUTRAL = {"white", "grey", "black"}


class UnknownScorerError(ImageGenXError):
    """There is no scorer of this name."""


@dataclass(frozen=True)
class Seen:
    """A finished picture, as scorers see it: RGB (H, W, 3), 0..255, at most `SIDE_PX` long, and its prompt."""

    pixels: NDArray[np.uint8]
    text: str

    @classmethod
    def of(cls, image: "Image", text: str) -> "Seen":
        """A picture of any size and mode."""
        small = image.convert("RGB").reduce(-(-max(image.size) // SIDE_PX))
        return cls(np.asarray(small), text)

    @cached_property
    def frame(self) -> NDArray[np.uint8]:
        """The outermost pixels (N, 3)."""
        rows = self.pixels
        return np.concatenate([rows[0], rows[-1], rows[1:-1, 0], rows[1:-1, -1]])

    @cached_property
    def ground(self) -> NDArray[np.float64] | None:
        """The colour (RGB) of the plain background, None if there is none: what most of the frame looks like."""
        middle = np.median(self.frame, axis=0)
        same = _distance(self.frame, middle) < _SAME
        return self.frame[same].mean(axis=0) if same.mean() > _PLAIN else None

    @cached_property
    def product(self) -> NDArray[np.bool_] | None:
        """Where the picture is not its background (H, W)."""
        return None if self.ground is None else _distance(self.pixels, self.ground) > _SAME


class Scorer(Protocol):
    """A score of a picture; None where it cannot tell."""

    def __call__(self, seen: Seen) -> float | None: ...


def contrast(seen: Seen) -> float:
    """Low for blank pictures, and for those of which hardly anything can be seen."""
    return float(min(1.0, seen.pixels.reshape(-1, 3).std(axis=0).max() / 20))


def sharpness(seen: Seen) -> float | None:
    """Low for blurred pictures: the steepest edges against the range of brightness."""
    light = seen.pixels.astype(np.float64).mean(axis=2)
    low, high = np.percentile(light, (1, 99))
    if high - low < 16:
        return None
    steps = np.concatenate([np.abs(np.diff(light, axis=0)).ravel(), np.abs(np.diff(light, axis=1)).ravel()])
    return float(min(1.0, 2 * np.percentile(steps, 99.5) / (high - low)))


def background(seen: Seen) -> float | None:
    """Low where the background has not the colour that the prompt asks for, or is not plain."""
    asked, _ = asked_colours(seen.text)
    if not asked:
        return None
    return 0.0 if seen.ground is None else closeness(seen.ground, asked)


def colour(seen: Seen) -> float | None:
    """Low where little of the product has a colour that the prompt names."""
    _, asked = asked_colours(seen.text)
    if not asked or seen.product is None or seen.product.sum() < _LEAST:
        return None
    # A white thing in the shade is grey, and a black one in the light.
    wanted = {*asked, *(_NEUTRAL if _NEUTRAL & set(asked) else ())}
    names = nearest_names(seen.pixels[seen.product])
    return float(min(1.0, 3 * np.isin(names, [COLOURS.index(name) for name in wanted]).mean()))


def cut_off(seen: Seen) -> float | None:
    """Low where the product reaches over the picture's edge."""
    if seen.ground is None:
        return None
    over = _distance(seen.frame, seen.ground) > 1.5 * _SAME
    return float(max(0.0, 1 - 8 * over.mean()))


SCORERS: Mapping[str, Scorer] = {one.__name__: one for one in (contrast, sharpness, background, colour, cut_off)}
"""Those that come along; others are named as `module:function`."""


def open_scorers(names: Sequence[str]) -> dict[str, Scorer]:
    """The scorers of these names, by what their scores are called."""
    return dict(_opened(name) for name in names)


def _opened(name: str) -> tuple[str, Scorer]:
    module, colon, function = name.partition(":")
    if not colon:
        if name not in SCORERS:
            raise UnknownScorerError(f"checks.scorers: {one_of(name, SCORERS)}; or give module:function")
        return name, SCORERS[name]
    try:
        return function, cast("Scorer", _callable(module, function))
    except (ImportError, AttributeError, TypeError) as exc:
        raise UnknownScorerError(f"checks.scorers: {name!r} cannot be used: {exc}") from exc


def _callable(module: str, function: str) -> Callable[..., Any]:
    found = getattr(import_module(module), function)
    if not callable(found):
        raise TypeError(f"{function} is no function")
    return cast("Callable[..., Any]", found)


def _distance(pixels: NDArray[Any], colour_: NDArray[Any]) -> NDArray[np.float64]:
    """ΔE of pixels (…, 3) from one colour."""
    difference = to_lab(pixels) - to_lab(colour_)
    distance: NDArray[np.float64] = np.sqrt((difference**2).sum(axis=-1))
    return distance
