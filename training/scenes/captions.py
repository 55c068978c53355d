"""Captions of the pictures as shop people write them, in English and Chinese; and prompts that training never sees."""

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import get_args

from training.scenes import words
from training.scenes.palette import BACKDROPS, COLOURLESS, OWN_COLOUR
from training.scenes.palette import COLOURS as COLOUR_TABLE
from training.scenes.palette import SURROUNDINGS as PLACES
from training.scenes.words import Language

_VOWEL = re.compile(r"\ba (?=[aeiou])")
HELD_OUT_COUNT = 600


@dataclass(frozen=True)
class Shown:
    """What a picture shows, in the words of the palette."""

    product: str
    colour: str
    backdrop: str
    shadow: bool = True
    close: bool = False


@dataclass(frozen=True)
class Ask:
    """A prompt and what a right picture of it shows."""

    text: str
    shown: Shown


def training_caption(shown: Shown, rng: random.Random) -> str:
    """A random caption; none names no backdrop unless that is white, and none stands among the held-out prompts."""
    while True:
        language: Language = rng.choice(get_args(Language))
        text = _caption(shown, language, rng)
        if text not in _held_out_texts():
            return text


def _caption(shown: Shown, language: Language, rng: random.Random) -> str:
    subject = _subject(shown, language, rng)
    parts = [subject]
    behind = _behind(shown, language, rng)
    if behind:
        parts.insert(0 if rng.random() < 0.25 else 1, behind)
    parts += _details(shown, language, rng)
    if rng.random() < 0.35:
        opening = rng.choice(words.OPENINGS[language])
        parts[0] = f"{opening} {parts[0]}" if language == "en" else opening + parts[0]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        parts.insert(rng.randint(0, len(parts)), _noise(language, rng))
    return _joined(parts, language, rng)


def _subject(shown: Shown, language: Language, rng: random.Random) -> str:
    product = _word(words.PRODUCTS[shown.product][language], rng)
    adjective = rng.choice(words.ADJECTIVES[language]) if rng.random() < 0.3 else ""
    if shown.colour == OWN_COLOUR:
        text = f"{adjective} {product}" if language == "en" else adjective + product
        return f"a {text.strip()}" if language == "en" and rng.random() < 0.5 else text
    colour = _word(words.COLOURS[shown.colour][language], rng)
    return rng.choice(words.SUBJECTS[language]).format(f=adjective, c=colour, p=product)


def _behind(shown: Shown, language: Language, rng: random.Random) -> str:
    """The backdrop in words; "" leaves it out, for white only."""
    if shown.backdrop in PLACES:
        place = rng.choice(words.SURROUNDINGS[shown.backdrop][language])
        kind = rng.choice(words.LIFESTYLE[language])
        choice = rng.random()
        if choice < 0.1:
            return kind
        return f"{kind}, {place}" if choice < 0.35 else place
    if shown.backdrop == "white":
        if rng.random() < 0.4:
            return ""
        if rng.random() < 0.4:
            return rng.choice(words.WHITE_PHRASES[language])
    table = {**words.COLOURS, **words.PALE}[shown.backdrop][language]
    return rng.choice(words.BACKGROUND_PHRASES[language]).format(b=_word(table, rng))


def _details(shown: Shown, language: Language, rng: random.Random) -> list[str]:
    parts = rng.sample(words.EXTRAS[language], rng.choice((0, 0, 0, 1, 1, 2, 3)))
    if shown.close and rng.random() < 0.8:
        parts.append(rng.choice(words.CLOSE[language]))
    if rng.random() < (0.25 if shown.shadow else 0.6):
        parts.append(rng.choice((words.SHADOWED if shown.shadow else words.SHADOWLESS)[language]))
    rng.shuffle(parts)
    return parts


def _noise(language: Language, rng: random.Random) -> str:
    """A word that says nothing about the picture, now and then a made-up one or a number."""
    kind = rng.random()
    if kind < 0.2:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    if kind < 0.3:
        return str(rng.randint(2, 2999))
    return rng.choice(words.NOISE[language if kind < 0.9 else rng.choice(get_args(Language))])


def _word(options: tuple[str, ...], rng: random.Random) -> str:
    """The plain word in half of the captions: it is the one most people write."""
    return options[0] if rng.random() < 0.5 else rng.choice(options)


def _joined(parts: list[str], language: Language, rng: random.Random) -> str:
    if language == "zh":
        text = rng.choice((",", ",", "，", "，", " ", "、")).join(parts)
        return text.replace(",", "，").replace(":", "：") if rng.random() < 0.5 else text
    text = rng.choice((", ", ", ", ", ", " ", " ")).join(parts)
    text = _VOWEL.sub("an ", re.sub(r"\s+", " ", text).strip())
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


@cache
def held_out_asks(language: Language) -> tuple[Ask, ...]:
    """The 600 prompts of the benchmark: all products, colours and backdrops, in phrasings of their own."""
    rng = random.Random(f"held out {language}")
    asks: dict[str, Ask] = {}
    while len(asks) < HELD_OUT_COUNT:
        ask = _held_out_ask(list(words.PRODUCTS)[len(asks) % len(words.PRODUCTS)], language, rng)
        asks.setdefault(ask.text, ask)
    return tuple(asks.values())


def _held_out_ask(product: str, language: Language, rng: random.Random) -> Ask:
    colour = OWN_COLOUR if product in COLOURLESS else rng.choice(list(COLOUR_TABLE))
    white = rng.random() < 0.4
    backdrop = "white" if white else rng.choice([name for name in BACKDROPS if name not in PLACES])
    table = {**words.COLOURS, **words.PALE}
    template = rng.choice((words.HELD_OUT_WHITE if white else words.HELD_OUT)[language])
    own = {"en": "classic", "zh": "经典"}[language]
    text = template.format(
        p=_word(words.PRODUCTS[product][language], rng),
        c=own if colour == OWN_COLOUR else _word(words.COLOURS[colour][language], rng),
        b=_word(table[backdrop][language], rng),
    )
    if rng.random() < 0.25:
        text += (", " if language == "en" else "，") + rng.choice(words.HELD_OUT_NOISE[language])
    return Ask(_VOWEL.sub("an ", text), Shown(product, colour, backdrop, not _says_no_shadow(text)))


def _says_no_shadow(text: str) -> bool:
    return "no shadow" in text or "无阴影" in text


@cache
def _held_out_texts() -> frozenset[str]:
    return frozenset(ask.text for language in get_args(Language) for ask in held_out_asks(language))
