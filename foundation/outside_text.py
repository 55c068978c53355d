"""Outside text as an operator may see it: what a prompt, a file name or a model card holds moves no terminal."""

import re

_UNSEEN = (
    "\x00-\x1f\x7f-\x9f"  # control characters: an escape sequence or a carriage return rewrites what stands there
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing: shows text in another order than it has
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # further ends of lines, and marks without a width
    "\ud800-\udfff"  # halves of characters, which no encoding can write
)
_IN_LINES = re.compile(f"[{_UNSEEN}]")
_IN_TEXT = re.compile(f"(?!\n)[{_UNSEEN}]")


def printable(text: str) -> str:
    """The text with its line ends; other characters that act instead of being seen as JSON writes them, like `\\u001b`.

    Joiners and variation selectors stay: emoji and several scripts need them.
    """
    return _IN_TEXT.sub(_escaped, text)


def one_line(text: str) -> str:
    """The text on one line: white space as single spaces, the rest as in `printable`."""
    return _IN_LINES.sub(_escaped, " ".join(text.split()))


def as_code(text: str) -> str:
    """The text on one line as Markdown's code, in which nothing else acts, as Dagster shows descriptions."""
    return "`" + one_line(text).replace("`", "'") + "`"


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
