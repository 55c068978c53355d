"""Whether the words in a picture are those that were asked for: read by PP-OCR, which the extra `ocr` brings."""

import re
import unicodedata
from difflib import SequenceMatcher
from functools import cache
from threading import Lock
from typing import Any

from ops.scores.quoted_words import quoted_words
from ops.scores.seen import Seen

try:
    from rapidocr import RapidOCR
except ImportError as exc:
    raise ImportError("rapidocr is not installed: pip install 'imagegenx[ocr]'") from exc

_BEARS_WORDS = re.compile(
    r"\b(?:text|words?|letters?|lettering|label(?:led|ed)?|logo|signs?|signage|poster|banner|billboard|newspaper|"
    r"magazine|books?|menu|typography|calligraphy|inscription|writing|written|reads|says|clock|watch|keyboard|"
    r"number plate)\b"
    r"|文字|字样|标签|标志|招牌|海报|横幅|报纸|杂志|书|菜单|书法|写着|钟|表|键盘",
    re.IGNORECASE,
)
"""In a prompt: the picture may have words that it does not quote."""
_LEAST = 3
"""Fewer letters than these are found in folds and buttons too."""
_ALIKE = 0.6
_reading = Lock()


def lettering(seen: Seen) -> float | None:
    """Low where words that the prompt quotes cannot be read, or where there are words and it asks for none."""
    wanted = [_plain(one) for one in quoted_words(seen.text)]
    own = [_plain(mark) for mark in seen.marks]
    found = [
        (text, sure) for text, sure in _read(seen) if text and not any(_likeness(text, mark) > _ALIKE for mark in own)
    ]
    if wanted:
        whole = "".join(text for text, _ in found)
        return min(max(_likeness(one, text) for text in (whole, *(text for text, _ in found))) for one in wanted)
    if _BEARS_WORDS.search(seen.text):
        return None
    return 1 - max((sure for text, sure in found if len(text) >= _LEAST), default=0.0)


def _read(seen: Seen) -> list[tuple[str, float]]:
    """(letters and digits of a line, how sure, 0 to 1) for each line, from the top."""
    with _reading:
        found = _reader()(seen.whole[:, :, ::-1])
    lines = zip(found.txts or (), found.scores or (), strict=True)
    return [(_plain(text), float(sure)) for text, sure in lines]


@cache
def _reader() -> Any:
    return RapidOCR(params={"Global.log_level": "critical"})


def _plain(text: str) -> str:
    """Letters and digits in one case and width."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _likeness(one: str, other: str) -> float:
    """1 for equal texts, 0 for those that share nothing."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
