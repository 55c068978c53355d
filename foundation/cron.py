"""The rules of cron lines and time zones, for settings and catalogs alike.

croniter, by which Dagster computes the moments, cannot be the judge: it takes `5-5` for every day, and `L`, `5#2` and a
sixth field for more than crontab(5) knows, and it names no field.
"""

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


_LONGEST = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))
"""Days of each month, in leap years."""


def cron_rule(line: str) -> str:
    """The rule that a cron line breaks, or "": five fields (crontab(5)), or @daily and the like.

    A day that no chosen month has is refused even beside days of the week, which crontab(5) would then follow alone:
    the library that computes the moments finds none.
    """
    fields = line.split()
    if line in _SHORTHANDS:
        return ""
    if len(fields) != len(_FIELDS):
        return f"{line[:60]!r} is not five fields like '0 6 * * *', nor @daily and the like"
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part.lower(), low, high, words) for part in text.split(",")):
            return f"{text[:60]!r} is not a {name} ({low} to {high}, *, ranges and steps like */15)"
    if min(_chosen(fields[2], *_FIELDS[2][1:])) > max(_LONGEST[month] for month in _chosen(fields[3], *_FIELDS[3][1:])):
        return f"day {fields[2][:60]!r} of month {fields[3][:60]!r} never comes"
    return ""


def timezone_rule(name: str) -> str:
    """The rule that a time zone breaks, or ""."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return f"{name[:60]!r} is not a time zone like 'Asia/Shanghai'"
    return ""


_PART = re.compile(r"(\*|[a-z]{3}|\d{1,2})(?:-([a-z]{3}|\d{1,2}))?(?:/(\d{1,2}))?", re.ASCII)


def _is_part(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    first, last, step = match.groups()
    if first == "*":
        return last is None and (step is None or int(step) > 0)
    numbers = [_number(text, words, low) for text in (first, last) if text]
    if any(number is None or not low <= number <= high for number in numbers):
        return False
    if step is not None and last is None:
        numbers.append(6 if words is _DAYS else high)
    # A range of one number, written or meant, is no limit at all to the library that computes the moments.
    return (step is None or int(step) > 0) and (len(numbers) == 1 or (numbers[0] or 0) < (numbers[1] or 0))


def _chosen(text: str, low: int, high: int, words: tuple[str, ...]) -> set[int]:
    """The numbers that a field of correct parts stands for."""
    numbers: set[int] = set()
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        assert match
        first, last, step = match.groups()
        begin = low if first == "*" else _number(first, words, low) or 0
        end = _number(last, words, low) or 0 if last else begin if first != "*" and step is None else high
        numbers.update(range(begin, end + 1, int(step or 1)))
    return numbers


def _number(text: str, words: tuple[str, ...], low: int) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text) + low if text in words else None
