"""Does the built-in model paint what was asked? Product, colour and background, in English and in Chinese.

Every prompt is paired with a seed that no render of the training used; half of the phrasings are ones that training
never saw. The judge's own accuracy on renders it never saw either is measured in the same run.
"""

import random
from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarks.painting import Commission, paint
from training.captions import Language, held_out_caption, training_caption_in
from training.dataset import BACKGROUND_NAMES, COLOUR_NAMES, random_scenes
from training.judge import Judge, judge_background, judge_colour, judge_picture, load_judge
from training.renderer import PRODUCTS, render
from training.run import BUILTIN

FRESH_SEED = 10_001
"""Of scenes that trained neither the generator nor the judge."""
SQUARE, OTHER_SIZES = (128, 128), ((128, 192), (192, 128), (192, 192))


@dataclass(frozen=True)
class Ask:
    """What one prompt asks for."""

    product: str
    colour: str
    background: str
    text: str
    group: str
    size: tuple[int, int]


def run() -> dict[str, float]:
    """Shares in [0, 1], by group (``en``, ``zh``, ``other sizes``) and attribute."""
    judge = load_judge(BUILTIN / "judge.safetensors")
    asks = [*_asks("en", SQUARE, 168), *_asks("zh", SQUARE, 168)]
    for number, size in enumerate(OTHER_SIZES):
        asks += _asks(("en", "zh")[number % 2], size, 56, group="other sizes")
    right: Counter[tuple[str, str]] = Counter()
    for number, picture in paint(_commission(ask, n) for n, ask in enumerate(asks)):
        ask = asks[number]
        for attribute, correct in _verdicts(judge, ask, picture.pixels).items():
            right[ask.group, attribute] += correct
    asked = Counter(ask.group for ask in asks)
    shares = {f"{group} {attribute}": count / asked[group] for (group, attribute), count in sorted(right.items())}
    return {"judge on fresh renders": judge_accuracy(judge), **shares, "pictures": float(len(asks))}


def judge_accuracy(judge: Judge, count: int = 504) -> float:
    """Share of fresh renders whose product the judge names rightly."""
    scenes = random_scenes(count, SQUARE, "photo", FRESH_SEED)
    return float(np.mean([judge_picture(judge, render(scene).rgb)[0] == scene.product for scene in scenes]))


def _asks(language: Language, size: tuple[int, int], count: int, group: str = "") -> list[Ask]:
    """As many asks, products and colours evenly spread, half of them in phrasings training never saw."""
    rng = random.Random(f"{language}/{size}")
    pairs = [(product, colour) for product in PRODUCTS for colour in COLOUR_NAMES]
    rng.shuffle(pairs)
    asks = []
    for number, (product, colour) in enumerate(pairs[:count]):
        background = BACKGROUND_NAMES[number % len(BACKGROUND_NAMES)]
        phrase = held_out_caption if number % 2 else training_caption_in
        text = phrase(product, colour, background, language, rng)
        asks.append(Ask(product, colour, background, text, group or language, size))
    return asks


def _commission(ask: Ask, number: int) -> Commission:
    return Commission(ask.text, 7_000_000 + number, {"resolution": f"{ask.size[0]}x{ask.size[1]}"})


def _verdicts(judge: Judge, ask: Ask, pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> dict[str, bool]:
    verdicts = {
        "product": judge_picture(judge, pixels)[0] == ask.product,
        "colour": judge_colour(pixels) == ask.colour,
        "background": judge_background(pixels) == ask.background,
    }
    return {**verdicts, "all three": all(verdicts.values())}
