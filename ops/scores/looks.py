"""Scorers of what any picture of a product should look like."""

import numpy as np

from ops.scores.colour_words import COLOURS, asked_colours, closeness, distance, nearest_names
from ops.scores.seen import SAME, Seen

_LEAST = 50
"""So few pixels of a product tell no colour."""
_NEUTRAL = {"white", "grey", "black"}


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
    over = distance(seen.frame, seen.ground) > 1.5 * SAME
    return float(max(0.0, 1 - 8 * over.mean()))
