"""The rules of cron lines and time zones, for settings and catalogs alike."""

import re
from zoneinfo import ZoneInfo

_SHORTHANDS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)


def cron_rule(line: str) -> str:
    """The rule that a cron line breaks, or "": five fields (crontab(5)), or @daily and the like."""
    fields = line.split()
    if line in _SHORTHANDS:
        return ""
    if len(fields) != len(_FIELDS):
        return f"{line[:60]!r} is not five fields like '0 6 * * *', nor @daily and the like"
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part.lower(), low, high, words) for part in text.split(",")):
            return f"{text[:60]!r} is not a {name} ({low} to {high}, *, ranges and steps like */15)"
    return ""


def timezone_rule(name: str) -> str:
    """The rule that a time zone breaks, or ""."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return f"{name[:60]!r} is not a time zone like 'Asia/Shanghai'"
    return ""


def _is_part(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = re.fullmatch(r"(\*|[a-z]{3}|\d{1,2})(?:-([a-z]{3}|\d{1,2}))?(?:/(\d{1,2}))?", part, re.ASCII)
    if match is None:
        return False
    first, last, step = match.groups()
    if first == "*":
        return last is None and step != "0"
    numbers = [_number(text, words, low) for text in (first, last) if text]
    if any(number is None or not low <= number <= high for number in numbers):
        return False
    return (step is None or int(step) > 0) and (last is None or numbers == sorted(numbers, key=lambda one: one or 0))


def _number(text: str, words: tuple[str, ...], low: int) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text) + low if text in words else None
