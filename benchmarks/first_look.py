"""What the first look lets pass: faults seeded among pictures of the built-in model, at the limits of the settings.

A person is asked of the pictures that some scorer doubts; what none doubts is published.
"""

import random
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.quality import MODEL, Commission, paint
from configs.lifecycle_settings import CheckSettings
from models.watermark_files import find_font
from ops.scores.colour_words import asked_colours
from ops.scores.scorers import open_scorers
from ops.scores.seen import Seen
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS

PICTURES, SHARE, ROUNDS = 500, 0.05, 8
"""So many of the pictures get a fault in each round, others in every one."""
LABELS, LABELLED = ("FRESH", "SALE", "MILK", "2026"), 10
"""One in so many pictures has a label, as its prompt asks."""
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
    plain = [(Image.fromarray(picture.pixels), texts[number]) for number, picture in paint(commissions)]
    return [_well_labelled(*one, number) if number % LABELLED == 0 else one for number, one in enumerate(plain)]


class _Look:
    def __init__(self) -> None:
        self._settings = CheckSettings(scorers=(*CheckSettings().scorers, "lettering"))
        self._scorers = open_scorers(self._settings)

    def doubts(self, image: Image.Image, text: str) -> bool:
        """Whether a person is asked of this picture."""
        seen, limits = Seen.of(image, text, model=MODEL), self._settings.review_below
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


def _unreadable(image: Image.Image, text: str, chance: random.Random) -> tuple[Image.Image, str]:
    """The prompt asks for a label, and the letters on it are none."""
    word = chance.choice(LABELS)
    return _labelled(image, "".join(chance.sample("#XWQ%&KZ", len(word)))), f'{text}, with the label "{word}"'


def _well_labelled(image: Image.Image, text: str, number: int) -> tuple[Image.Image, str]:
    word = LABELS[number // LABELLED % len(LABELS)]
    return _labelled(image, word), f'{text}, with the label "{word}"'


def _labelled(image: Image.Image, word: str) -> Image.Image:
    """With a white label across the product."""
    labelled, (width, height) = image.convert("RGB"), image.size
    draw = ImageDraw.Draw(labelled)
    box = (width // 5, height // 2, 4 * width // 5, height // 2 + height // 6)
    draw.rectangle(box, (255, 255, 255))
    face = find_font("", Path())
    font = ImageFont.truetype(face.path, height // 8, face.index)
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), word, (20, 20, 20), font, anchor="mm")
    return labelled


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
    "unreadable label": _unreadable,
}
