"""What the first look lets pass: faults seeded among pictures of the built-in model, at the limits of the settings.

A person is asked of the pictures that some scorer doubts; what none doubts is published.
"""

import random
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.quality import Commission, paint
from configs.lifecycle_settings import CheckSettings
from ops.scores.colour_words import asked_colours
from ops.scores.scorers import Seen, open_scorers
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS

PICTURES, SHARE, ROUNDS = 500, 0.05, 8
"""So many of the pictures get a fault in each round, others in every one."""
LIMITS = {"seen by a person, %": 10.0, "faults published, %": 1.0}

Fault = Callable[[Image.Image, str, random.Random], tuple[Image.Image, str]]


def run() -> dict[str, float]:
    """Shares, in %, over all rounds; by fault, how many of the seeded ones are published."""
    pictures = painted(PICTURES)
    look = _Look()
    alarms = [look.doubts(*one) for one in pictures]
    chance = random.Random(7)
    seen, published, seeded = 0, dict.fromkeys(FAULTS, 0), dict.fromkeys(FAULTS, 0)
    for _ in range(ROUNDS):
        chosen = chance.sample(range(PICTURES), int(PICTURES * SHARE))
        seen += sum(alarms[place] for place in set(range(PICTURES)) - set(chosen))
        for number, place in enumerate(chosen):
            name, fault = list(FAULTS.items())[number % len(FAULTS)]
            is_doubted = look.doubts(*fault(*pictures[place], chance))
            seeded[name] += 1
            seen += is_doubted
            published[name] += not is_doubted
    total = sum(seeded.values())
    return {
        "seen by a person, %": 100 * seen / (PICTURES * ROUNDS),
        "faults published, %": 100 * sum(published.values()) / total,
        "false alarms, %": 100 * sum(alarms) / PICTURES,
        **{f"{name} published, %": 100 * published[name] / seeded[name] for name in FAULTS},
    }


def painted(count: int) -> list[tuple[Image.Image, str]]:
    """So many pictures of the built-in model, with their prompts: products in all colours before all backgrounds."""
    scenes = list(product(PRODUCTS, COLOURS, BACKGROUNDS))
    chosen = random.Random(3).sample(scenes, count)
    texts = [f"a {colour} {what} on a {ground} background" for what, colour, ground in chosen]
    commissions = [Commission(text, seed, {"resolution": "128x128", "steps": 10}) for seed, text in enumerate(texts)]
    return [(Image.fromarray(picture.pixels), texts[number]) for number, picture in paint(commissions)]


class _Look:
    def __init__(self) -> None:
        self._settings = CheckSettings()
        self._scorers = open_scorers(self._settings.scorers)

    def doubts(self, image: Image.Image, text: str) -> bool:
        """Whether a person is asked of this picture."""
        seen, limits = Seen.of(image, text), self._settings.review_below
        scores = ((name, scorer(seen)) for name, scorer in self._scorers.items())
        return any(score is not None and score < limits.get(name, 0.0) for name, score in scores)


def _blank(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """Nothing but the colour of a corner."""
    return Image.new("RGB", image.size, image.convert("RGB").getpixel((0, 0))), text


def _cut_off(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The product moved a quarter of itself over the right edge."""
    pixels, (left, right) = np.asarray(image.convert("RGB")), _columns(image, text)
    moved = np.roll(pixels, pixels.shape[1] - right + (right - left) // 4, axis=1).copy()
    gap = pixels.shape[1] - right + (right - left) // 4
    moved[:, :gap] = pixels[:, :1]
    return Image.fromarray(moved), text


def _blurred(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    return image.convert("RGB").filter(ImageFilter.GaussianBlur(2.5)), text


def _other_background(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for another background."""
    asked, _ = asked_colours(text)
    other = chance.choice([name for name in BACKGROUNDS if name != asked])
    return image, text.replace(f"{asked} background", f"{other} background")


def _other_colour(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for another colour; white, grey and black things are no fault of each other."""
    own = asked_colours(text)[1][0]
    neutral = {"white", "grey", "black"}
    others = [name for name in COLOURS if name != own and not {name, own} <= neutral]
    return image, text.replace(f"a {own} ", f"a {chance.choice(others)} ", 1)


def _columns(image: Image.Image, text: str) -> tuple[int, int]:
    """The first and the last column of the product, px."""
    shown = Seen(np.asarray(image.convert("RGB")), text).product
    columns: NDArray[np.intp] = np.flatnonzero(shown.any(axis=0)) if shown is not None else np.array([])
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, image.width)


FAULTS: Mapping[str, Fault] = {
    "blank": _blank,
    "cut off": _cut_off,
    "blurred": _blurred,
    "other background": _other_background,
    "other colour": _other_colour,
}
