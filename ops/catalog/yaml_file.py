"""YAML read as plain texts: no types are guessed, so `no`, `1e3` and dates stay what was written."""

from collections.abc import Iterator
from typing import TypeAlias, Union

import yaml

MAX_DEPTH = 8

YamlValue: TypeAlias = Union[str, list["YamlValue"], "YamlMapping"]


class YamlSyntaxError(ValueError):
    """The text is not the YAML that catalogs are written in; the message names the line."""


class YamlMapping(dict[str, YamlValue]):
    """A mapping and the line of the file it starts on."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


def read_yaml(text: str) -> YamlValue:
    """The document in `text`: mappings, lists and texts, `null` and nothing being the empty text.

    Raises:
        YamlSyntaxError: for bad syntax, keys named twice, aliases (use `defaults:`), tags, more than one
            document and deep nesting, so that no short file can grow large.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _document(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as exc:
        raise YamlSyntaxError(_syntax_message(exc)) from exc


def _syntax_message(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    reason = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "not YAML"
    return f"{where}{getattr(exc, 'context', None) or 'while reading the file'}: {reason}"


def _document(events: Iterator[yaml.Event]) -> YamlValue:
    value: YamlValue = ""
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            value = _node(next(events), events, 1)
            break
    next(events, None)
    if isinstance(after := next(events, None), yaml.DocumentStartEvent):
        raise _refused(after, "a second document starts; a catalog is one document")
    return value


def _node(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> YamlValue:
    if isinstance(event, yaml.AliasEvent):
        raise _refused(event, "aliases are not used in catalogs; write shared columns under 'defaults:'")
    if getattr(event, "tag", None):
        raise _refused(event, f"the tag {str(getattr(event, 'tag', ''))[:60]!r} is not used in catalogs")
    if depth > MAX_DEPTH:
        raise _refused(event, f"nested more than {MAX_DEPTH} deep")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(event, events, depth)
    if isinstance(event, yaml.SequenceStartEvent):
        return _sequence(events, depth)
    return _text(event)


def _text(event: yaml.Event) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise _refused(event, "a value was expected")
    null = event.implicit[0] and event.value in ("null", "Null", "NULL", "~")
    return "" if null else str(event.value)


def _sequence(events: Iterator[yaml.Event], depth: int) -> list[YamlValue]:
    values: list[YamlValue] = []
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            break
        values.append(_node(event, events, depth + 1))
    return values


def _mapping(start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> YamlMapping:
    values = YamlMapping(_line(start))
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        if not isinstance(event, yaml.ScalarEvent):
            raise _refused(event, "a key must be plain text")
        key = str(event.value)
        if key in values:
            raise _refused(event, f"the key {key[:60]!r} is named twice")
        values[key] = _node(next(events), events, depth + 1)
    return values


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _refused(event: yaml.Event, reason: str) -> YamlSyntaxError:
    return YamlSyntaxError(f"line {_line(event)}: {reason}")
