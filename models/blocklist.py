"""Words that no request may have, found as people write them to be found by nobody.

A request is looked at before it costs anything: its prompt, what it shall not show, and the text that is drawn on it.
Texts are compared by what is seen: compatibility forms (NFKC), case, accents, letters of other scripts that look like
Latin ones (Unicode TS #39) and small capitals make no difference, nor does what is not seen: soft hyphens, zero-width
characters. Chinese is compared in simplified characters. Letters may stand apart (`g u n`, `g-u-n`, `g un`), have
signs between them (`g.un`), weights or LoRAs (`g(u:1)n`), and be signs, digits and pairs of letters that look like them
(`k1ll`, `n@ked`, `kIII`, `9un`, `gvn`, `vvar`, `rnurder`), of digits no more than letters (`b19` is a number), or drawn
out (`guuun`, `gguunn`). A word in Latin letters must stand alone, or with an s (`guns`) or a number beside it (`gun2`),
unless it is given as `*gun` or `gun*`, which are found at the end or beginning of longer ones too; any other may stand
inside a longer text, as Chinese words do. Not found are words in pieces of two and more letters each (`wea pon`):
whoever joined them would refuse `the pen is red`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from foundation.problems import Problem
from models.errors import RejectedError
from models.pairs_of_letters import ORDINARY_WORDS
from models.prompt_syntax import bare_words
from models.request import GenerationRequest

_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Ignorable characters that are no format characters."""
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
"""Marks of any script; those that belong to one script make its words what they are, but no Latin ones."""
_ON_LATIN = re.compile("(?<=[a-z0-9])[^\\x00-\u02ff]+")
_SIGNS = {
    **{"a": "[a@4]", "b": "[b8]", "e": "[e€3]", "g": "[g69]", "i": "[i1|!]", "l": "[l1|]", "o": "[o0]", "s": "[s$5]"},
    **{"t": "[t7]", "u": "[uv]", "z": "[z2]", "d": "(?:d|cl)", "m": "(?:m|rn)", "w": "(?:w|vv|uu)"},
}
"""What letters are written as in ASCII, by letter. Of pairs, see also `models.pairs_of_letters`."""
_LATIN_NAME = re.compile(
    r"LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL |SCRIPT |DOTLESS |TURNED )*([A-Z])(?: (?:WITH|BAR)\b.*)?"
)
_LETTERED = (("\U0001f150", 26), ("\U0001f170", 26), ("\U0001f1e6", 26))
"""Alphabets of symbols that have no compatibility form: where each begins, and its length."""
_CLICKS = "\u01c0\u01c1\u01c2\u01c3"
"""Letters of African languages that look like bars."""
_CAPITAL_I = re.compile("(?<=[a-z])I+|I+(?=[a-z])")
"""Beside small letters it looks like an l as well."""
_AHEAD = re.compile("(?<![a-z0-9'’])[b-hj-z](?: [a-z]){0,30} (?=[a-z]{2})")
_BEHIND = re.compile("(?<=[a-z]{2})(?: [a-z]){0,30} [b-hj-z](?![a-z0-9'’])")
"""Single letters, which are no words, before and after what may be the rest of their word; so many that words have."""


class Blocklist:
    """Words, as `checks.blocked_words` gives them. `version` changes with them. Safe for threads."""

    def __init__(self, words: Iterable[str]) -> None:
        folded = sorted({read for word in words for read in (plain(word), plain(word.casefold()))} - {""})
        self.version = hashlib.sha256("\n".join(["8", *folded]).encode()).hexdigest()[:12]
        self._patterns = {word: re.compile(_pattern(word)) for word in folded}

    def found(self, text: str) -> list[str]:
        """The blocked words that a text has."""
        seen = readings(text) if self._patterns else ()
        return [word for word, pattern in self._patterns.items() if any(_is_in(word, pattern, one) for one in seen)]

    def problems(self, request: GenerationRequest) -> Iterator[Problem]:
        """Each field of a request that has blocked words."""
        post = request.params.post_process
        fields = {"text": request.text, "params.negative_text": request.params.negative_text}
        for field, text in {**fields, "params.post_process.watermark.text": post.watermark.text}.items():
            for word in self.found(text):
                yield Problem(field, f"has the blocked word '{word}'")

    def check(self, request: GenerationRequest) -> None:
        """Raise RejectedError if a request has blocked words, naming fields and words."""
        if problems := list(self.problems(request)):
            raise RejectedError(problems)


def readings(text: str) -> set[str]:
    """The ways in which a text may be read: by its capitals or without, single letters as parts of their neighbours."""
    texts = {read for words in (text, bare_words(text)) for read in (words, _without_signs(words))}
    ways = {way for words in texts for way in (words, words.casefold(), _barred(words))}
    read = {plain(way) for way in ways}
    return read | {
        pattern.sub(lambda found: found[0].replace(" ", ""), one) for one in read for pattern in (_AHEAD, _BEHIND)
    }


def _without_signs(text: str) -> str:
    """The text with signs that look like letters taken for signs: they may stand between words (`gun×2`) or beside."""
    return "".join(" " if _is_sign(letter) else letter for letter in text)


def _is_sign(letter: str) -> bool:
    """Whether a character is no letter, but may be read as one or several."""
    if letter.isascii() or not (unicodedata.category(letter)[0] in "PS" or letter in _CLICKS):
        return False
    return unicodedata.normalize("NFD", letter)[0] in _confusables() or len(unicodedata.normalize("NFKC", letter)) > 1


def _barred(text: str) -> str:
    return _CAPITAL_I.sub(lambda found: "|" * len(found[0]), text)


def plain(text: str) -> str:
    """A text by what is seen of it: lower case, Latin letters for those that look like them, single spaces."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    letters = unicodedata.normalize("NFKC", bare).translate(_LOOKS)
    apart = _ACCENTS.sub("", unicodedata.normalize("NFD", letters.casefold()))
    apart = _ON_LATIN.sub(lambda found: found[0].lstrip(_marks(found[0])), apart)
    return " ".join(unicodedata.normalize("NFC", apart).split())


class _Looks(dict[int, str]):
    """What `_looks_like` says of the characters that came lately, in the form that `str.translate` reads."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        looks = self[code] = _looks_like(chr(code))
        return looks


_REMEMBERED = 50_000
_LOOKS = _Looks()


def _looks_like(letter: str) -> str:
    """The Latin letter that a character looks like, nothing for one that is not seen, else the character itself."""
    if letter.isascii():
        return letter if letter.isprintable() or letter in "\t\n\r" else ""
    if unicodedata.category(letter) == "Cf" or _UNSEEN.match(letter):
        return ""
    for first, count in _LETTERED:
        if 0 <= (place := ord(letter) - ord(first)) < count:
            return chr(ord("a") + place)
    if named := _LATIN_NAME.fullmatch(unicodedata.name(letter, "")):
        return named[1].lower()
    latin = _confusables().get(letter) or _confusables().get(letter.upper())
    return latin or _simplified(letter)


def _simplified(letter: str) -> str:
    """The simplified form of a Chinese character, else itself."""
    return str(_conversion().convert(letter)) if letter >= "\u2e80" else letter


@cache
def _conversion() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


@cache
def _confusables() -> dict[str, str]:
    """What confusable characters look like: a Latin letter, or two (ligatures, signs); Greek ones a Cyrillic letter."""
    from confusable_homoglyphs.confusables import confusables_data

    pairs = [
        (letter, other["c"]) for letter, others in confusables_data.items() for other in others if len(letter) == 1
    ]
    latin = {
        letter: other.lower()
        for letter, other in pairs
        if not letter.isascii() and re.fullmatch("[A-Za-z]" if _is_of("CYRILLIC", letter) else "[A-Za-z]{1,2}", other)
    }
    cyrillic = {
        letter: latin.get(other) or latin.get(other.lower()) or other.lower()
        for letter, other in pairs
        if _is_of("GREEK", letter) and _is_of("CYRILLIC", other)
    }
    return cyrillic | latin


def _is_of(script: str, letter: str) -> bool:
    return len(letter) == 1 and unicodedata.name(letter, "").startswith(script)


def _marks(text: str) -> str:
    """The combining marks in a text."""
    return "".join(letter for letter in text if unicodedata.category(letter).startswith("M"))


def _is_in(word: str, pattern: re.Pattern[str], seen: str) -> bool:
    """Whether a text has a word; what has fewer letters than digits, beyond those of the word, is a number.

    What is an ordinary word is no other that looks like it.
    """
    own_digits, has_letters = _count(str.isdigit, word), any(map(str.isalpha, word))
    for found in pattern.finditer(seen):
        if found[0] in ORDINARY_WORDS and not found[0].startswith(word.strip("*")):
            continue
        letters, digits = _count(str.isalpha, found[0]), _count(str.isdigit, found[0]) - own_digits
        if digits <= letters and (letters or not has_letters):
            return True
    return False


def _count(kind: Callable[[str], bool], text: str) -> int:
    return sum(map(kind, text))


def _pattern(word: str) -> str:
    """The word, or all of its letters apart; at an end that is Latin, it must not go on with another letter."""
    opens, closes = bool(re.match(r"\*\w{3}", word)), bool(re.search(r"\w{3}\*$", word))
    word = word[opens : len(word) - closes]
    # Signs between letters are seen through.
    whole = re.sub(r"(?<=\w)(?=\w)", "\0", word)
    runs = [run[0] for run in _RUNS.finditer(whole)]
    forms = ["".join(_BETWEEN.get(run) or drawn_out(run) for run in runs) for drawn_out in (_drawn_out, _doubled)]
    letters = [_written(letter) for letter in word if letter != " "]
    # Three letters apart are a word; two are an abbreviation.
    if len(letters) > 2 or not word.isascii():
        forms.append(r"[\W_]{1,3}".join(letters))
    # Numbers may stand beside a word, but not beside an abbreviation or another number.
    first, last = (_LATIN if len(word) > 2 and end.isalpha() else _LATIN_OR_DIGIT for end in (word[0], word[-1]))
    before = f"(?<!{first})" if re.match(_LATIN_OR_DIGIT, word) and not opens else ""
    after = f"(?!{last})" if re.match(_LATIN_OR_DIGIT, word[-1]) and not closes else ""
    if after and re.search(r"[a-z]{2}[a-rt-z]$", word):
        after = f"{_SIGNS['s']}?{after}"
    return before + f"(?:{'|'.join(forms)})" + after


def _written(letter: str) -> str:
    return _SIGNS.get(letter, re.escape(letter))


def _drawn_out(run: str) -> str:
    """A letter as often as the word has it beside itself, or three times and more."""
    once = "".join(_BETWEEN.get(letter) or _written(letter) for letter in run)
    return f"(?:{once}|{_written(run[0])}{{3,40}}+)" if run[0].isalpha() else once


def _doubled(run: str) -> str:
    """A letter twice or more, as all letters of a word may be."""
    return f"{_written(run[0])}{{{max(2, len(run) // 2 + 1)},40}}+" if run[0].isalpha() else _drawn_out(run)


_LATIN, _LATIN_OR_DIGIT = "[a-z]", "[a-z0-9]"
_RUNS = re.compile(r"(\w)(?:\0\1)*|.", re.DOTALL)
_BETWEEN = {" ": r"[\W_]+", "\0": r"(?:[^\w\s]|_)*"}
