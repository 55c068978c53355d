"""The texts of errors: short, clean and in our words, whatever a library said."""

import re

from foundation.outside_text import one_line, printable

MAX_CHARS = 600
"""No error text is longer."""
MAX_CAUSE_CHARS = 300
"""No more of a library's words stands in one."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|\x9b[0-?]*[ -/]*[@-~]")
"""What terminals take for commands (ECMA-48)."""
_UNSAFE_ADVICE = re.compile(r"weights[_ ]only", re.IGNORECASE)
_UNPICKLED = re.compile(r"\bGLOBAL ([\w.]{1,80})")


def shortened(text: str, limit: int) -> str:
    """The text, cut between words where there are some, with … for what is left out."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 2]
    end = kept.rfind(" ")
    return f"{kept[: end if end > limit // 2 else None].rstrip()} …"


def without_escapes(text: str) -> str:
    """The text without colours and whatever else is a command to a terminal."""
    return _ESCAPES.sub("", text)


def error_text(text: str) -> str:
    """An error's text of at most `MAX_CHARS` characters: whole lines that fit, and how many more there are."""
    lines = printable(text).split("\n")
    if sum(map(len, lines)) + len(lines) - 1 <= MAX_CHARS:
        return "\n".join(lines)
    room, kept = MAX_CHARS - 40, list[str]()
    while lines and len(lines[0]) < room:
        room -= len(lines[0]) + 1
        kept.append(lines.pop(0))
    if not kept:
        return shortened(" ".join(lines), MAX_CHARS)
    return "\n".join([*kept, f"… and {len(lines):,} more."])


def error_lines(text: str) -> str:
    """A list of errors, one a line, each of at most `MAX_CHARS` characters."""
    return "\n".join(shortened(line, MAX_CHARS) for line in printable(text).split("\n"))


def cause_text(cause: BaseException) -> str:
    """What a library said, in one line of at most `MAX_CAUSE_CHARS` characters; its kind if it said nothing.

    PyTorch's advice to load pickled code all the same is left out.
    """
    said = str(cause)
    if _UNSAFE_ADVICE.search(said):
        found = _UNPICKLED.search(said)
        said = f"Weights only load failed: the file holds more{f', and calls {found[1]}' if found else ''}"
    return shortened(one_line(without_escapes(said[:100_000])), MAX_CAUSE_CHARS) or type(cause).__name__


def log_text(text: str, most_lines: int = 80) -> str:
    """An error for a log: lines of at most `MAX_CHARS` characters, the middle left out where there are too many."""
    lines = error_lines(text).split("\n")
    if len(lines) <= most_lines:
        return "\n".join(lines)
    half = most_lines // 2
    return "\n".join([*lines[:half], f"… {len(lines) - 2 * half:,} lines", *lines[-half:]])
