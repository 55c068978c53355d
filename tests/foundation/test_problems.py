from typing import Literal

import pytest
from pydantic import Field, ValidationError

from foundation.problems import Problem, nearest, one_of, shown, validation_problems
from foundation.value_object import ValueObject


class Inner(ValueObject):
    count: int = Field(default=1, ge=1, le=9)
    kind: Literal["left", "right"] = "left"


class Outer(ValueObject):
    name: str
    inner: Inner = Inner()
    ratio: float = Field(default=0.5, gt=0, lt=1)


def problems_of(data: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    return [str(problem) for problem in validation_problems(caught.value, Outer)]


def test_every_problem_is_listed_with_its_field_and_the_given_value():
    data = {"inner": {"count": 10, "kind": "lfet"}, "ratio": float("nan")}

    assert problems_of(data) == [
        "name: required, but not given",
        "inner.count: 10 is above the maximum of 9",
        "inner.kind: 'lfet' is not one of left, right. Nearest: left.",
        "ratio: nan is not a finite number",
    ]


def test_the_bounds_of_a_range_are_told():
    assert problems_of({"name": "a", "inner": {"count": 0}, "ratio": 0}) == [
        "inner.count: 0 is below the minimum of 1",
        "ratio: 0 is not above 0.0",
    ]
    assert problems_of({"name": "a", "ratio": 1.0}) == ["ratio: 1.0 is not below 1.0"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"name": "a", "iner": {}}, "iner: unknown field. Nearest: inner."),
        ({"name": "a", "count": 3}, "count: unknown field. Nearest: inner.count."),
        ({"name": "a", "inner": {"kid": 3}}, "inner.kid: unknown field. Nearest: inner.kind."),
        ({"name": "a", "zzzzzz": 3}, "zzzzzz: unknown field."),
    ],
)
def test_an_unknown_field_names_the_nearest_known_one(data, text):
    assert problems_of(data) == [text]


def test_of_many_problems_the_first_hundred_and_their_count_are_told():
    told = problems_of({"name": "a", **{f"extra{number}": 1 for number in range(1234)}})
    assert (len(told), told[0][:6], told[-1]) == (101, "extra0", "… and 1,134 more")


def test_a_long_value_is_shortened():
    assert len(shown("x" * 10_000_000)) == 80
    assert shown("x" * 10_000_000).endswith("…")
    assert shown(3) == "3"


def test_the_nearest_name_ignores_case_and_is_left_out_when_nothing_is_near():
    assert nearest("EULER", ["Euler", "Heun"]) == " Nearest: Euler."
    assert nearest("qqqqqq", ["Euler", "Heun"]) == ""
    assert one_of(7, ["a", "b"]) == "7 is not one of a, b."


def test_a_problem_of_the_whole_has_no_field():
    assert str(Problem("", "not JSON")) == "not JSON"
