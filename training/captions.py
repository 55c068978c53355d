"""Captions for rendered scenes: English and Chinese, from many templates, seeded."""

import random
import re
from typing import Literal

from training.vocabulary import (
    BACKGROUND_WORDS,
    COLOUR_WORDS,
    EXTRA_WORDS,
    FILLERS,
    HELD_OUT_TEMPLATES,
    PRODUCT_WORDS,
    SHORT_TEMPLATES,
    SUFFIXES,
    TRAINING_TEMPLATES,
)

Language = Literal["en", "zh"]
_VOWEL = re.compile(r"\ba (?=[aeiou])")


def training_caption(product: str, colour: str, background: str, rng: random.Random) -> str:
    """A random caption of the scene; some leave the background out, some carry words that mean nothing here."""
    language: Language = rng.choice(("en", "zh"))
    templates = SHORT_TEMPLATES if rng.random() < 0.12 else TRAINING_TEMPLATES
    text = _fill(rng.choice(templates[language]), product, colour, background, language, rng)
    if rng.random() < 0.15:
        text += rng.choice(SUFFIXES[language])
    if rng.random() < 0.10:
        text = _with_noise_word(text, language, rng)
    return text


def training_caption_in(product: str, colour: str, background: str, language: Language, rng: random.Random) -> str:
    """A caption in one of the full phrasings of training, in the given language."""
    return _fill(rng.choice(TRAINING_TEMPLATES[language]), product, colour, background, language, rng)


def held_out_caption(product: str, colour: str, background: str, language: Language, rng: random.Random) -> str:
    """A caption in a phrasing that training never uses, with the same words for things."""
    return _fill(rng.choice(HELD_OUT_TEMPLATES[language]), product, colour, background, language, rng)


def plain_caption(product: str, colour: str, background: str, language: Language) -> str:
    """The plainest full caption, with the first word for each thing."""
    rng = random.Random(0)
    template = TRAINING_TEMPLATES[language][1 if language == "en" else 0]
    return _fill(template, product, colour, background, language, rng, synonyms=False)


def _fill(
    template: str,
    product: str,
    colour: str,
    background: str,
    language: Language,
    rng: random.Random,
    *,
    synonyms: bool = True,
) -> str:
    def word(options: tuple[str, ...]) -> str:
        # The plain word stands in half of the captions: it is the one most people write.
        return rng.choice(options) if synonyms and rng.random() < 0.5 else options[0]

    text = template.format(
        p=word(PRODUCT_WORDS[product][language]),
        c=word(COLOUR_WORDS[colour][language]),
        b=word(BACKGROUND_WORDS[background][language]),
        f=rng.choice(FILLERS[language]),
    )
    text = re.sub(r"\s+", " ", text).strip()
    if language == "zh":
        return text.replace(",", "，").replace(":", "：") if rng.random() < 0.6 else text
    return _VOWEL.sub("an ", text)


def _with_noise_word(text: str, language: Language, rng: random.Random) -> str:
    """Put a word without meaning in front or behind, so that unknown words in a prompt do little harm."""
    if rng.random() < 0.5:
        noise = rng.choice(EXTRA_WORDS[language])
    else:
        noise = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    joint = "," if language == "zh" else " "
    return f"{noise}{joint}{text}" if rng.random() < 0.5 else f"{text}{joint}{noise}"
