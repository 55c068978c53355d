"""Scorers of what any picture of a product should look like."""

import numpy as np
from numpy.typing import NDArray

from ops.scores.colour_words import COLOURS, asked_colours, closeness, distance, nearest_names
from ops.scores.seen import SAME, Seen

_LEAST = 50
"""So few pixels of a product tell no colour."""
_NEUTRAL = {"white", "grey", "black"}


def contrast(seen: Seen) -> float:
    """Low for blank pictures, and for those of which hardly anything can be seen."""
    return float(min(1.0, seen.pixels.reshape(-1, 3).std(axis=0).max() / 20))


def sharpness(seen: Seen) -> float | None:
    """Low for blurred pictures: the steepest edges against the range of brightness, in red, green or blue."""
    planes = np.moveaxis(seen.pixels.astype(np.float64), 2, 0)
    return max((score for plane in planes if (score := _steepest(plane)) is not None), default=None)


def _steepest(plane: NDArray[np.float64]) -> float | None:
    low, high = np.percentile(plane, (1, 99))
    if high - low < 16:
        return None
    steps = np.concatenate([np.abs(np.diff(plane, axis=side)).ravel() for side in (0, 1)])
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
    over = distance(seen.frame, seen.ground) > 1.5 * SAME
    return float(max(0.0, 1 - 8 * over.mean()))
