"""What is wrong with data from outside: fields and the rules they break, listed all at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from foundation.error_text import MAX_CHARS, shortened
from foundation.outside_text import one_line

_LONGEST_SHOWN = 80
_MOST_PROBLEMS = 100
_MOST_NAMES = 24
_CONSEQUENCES = {"default_factory_not_called"}
"""What only follows from another error: a default that needs the fields before it."""
_NOT_A = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "an object with fields",
    "model_attributes_type": "an object with fields",
    "dict_type": "an object with fields",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
    "finite_number": "a finite number",
    "string_unicode": "valid Unicode text",
}


@dataclass(frozen=True)
class Problem:
    """One broken rule; `field` is the dotted name (`params.steps`), `rule` what it breaks and with which value."""

    field: str
    rule: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", shortened(self.rule, MAX_CHARS))

    def __str__(self) -> str:
        return one_line(f"{self.field}: {self.rule}" if self.field else self.rule)


def shown(value: object) -> str:
    """`value` as it appears in an error text: quoted if text, never longer than a line."""
    text = f"{value[: _LONGEST_SHOWN + 1]!r}" if isinstance(value, str) else f"{value!r}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence that names the known name closest to `name` (with its leading space), or an empty text."""
    match = get_close_matches(name[:200].casefold(), folded := {k.casefold(): k for k in known}, n=1, cutoff=0.5)
    return f" Nearest: {folded[match[0]]}." if match else ""


def one_of(value: object, known: Iterable[str]) -> str:
    """The rule text for a value outside a closed set, with the names of a large set's beginning and the nearest one."""
    names = list(known)
    hint = nearest(value, names) if isinstance(value, str) else ""
    listed = [name or repr(name) for name in names[:_MOST_NAMES]] + ["…"] * (len(names) > _MOST_NAMES)
    return f"{shown(value)} is not one of {', '.join(listed)}.{hint}"


def validation_problems(exc: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """Every error of a failed validation of `model`, in our words; of more than a hundred these and their count."""
    errors = [error for error in exc.errors(include_url=False) if error["type"] not in _CONSEQUENCES]
    problems = tuple(_problem(error, model) for error in errors[:_MOST_PROBLEMS])
    more = len(errors) - len(problems)
    return (*problems, Problem("", f"… and {more:,} more")) if more else problems


def _problem(error: ErrorDetails, model: type[BaseModel]) -> Problem:
    field = ".".join(str(part)[:_LONGEST_SHOWN] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return Problem(field, f"unknown field.{_nearest_field(field, model)}")
    return Problem(field, _rule(error))


def _rule(error: ErrorDetails) -> str:
    kind, given, ctx = error["type"], error["input"], error.get("ctx", {})
    if kind in _NOT_A:
        return f"{shown(given)} is not {_NOT_A[kind]}"
    match kind:
        case "missing":
            return "required, but not given"
        case "value_error":
            return str(ctx["error"])
        case "literal_error" | "enum":
            return one_of(given, _choices(str(ctx["expected"])))
        case "string_too_long":
            return f"{len(str(given)):,} characters are above the maximum of {ctx['max_length']:,}"
    return _range_rule(kind, given, ctx) or f"{shown(given)}: {error['msg']}"


def _range_rule(kind: str, given: object, ctx: Mapping[str, object]) -> str:
    match kind:
        case "less_than_equal":
            return f"{shown(given)} is above the maximum of {ctx['le']}"
        case "greater_than_equal":
            return f"{shown(given)} is below the minimum of {ctx['ge']}"
        case "greater_than":
            return f"{shown(given)} is not above {ctx['gt']}"
        case "less_than":
            return f"{shown(given)} is not below {ctx['lt']}"
    return ""


def _choices(expected: str) -> list[str]:
    return [choice.strip("'") for choice in expected.replace(" or ", ", ").split(", ")]


def _nearest_field(field: str, model: type[BaseModel]) -> str:
    known = list(_dotted(model))
    leaf = field.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    return f" Nearest: {same_leaf[0]}." if same_leaf else nearest(field, known)


def _dotted(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _dotted(kind, f"{prefix}{name}.")
