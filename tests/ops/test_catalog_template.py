"""Templates and their axes."""

from pathlib import Path

import pytest

from tests.support.catalog_writer import problems, read


def ids(folder: Path, text: str) -> list[str]:
    return list(read(folder, "a.yaml", text).table["id"])


def test_every_combination_becomes_a_row(tmp_path: Path) -> None:
    text = (
        "template: '{colour} t-shirt'\n"
        "axes: {colour: [red, light blue, 绿色], resolution: [128x128, 128×192], seed: [1, 2]}\n"
    )
    table = read(tmp_path, "a.yaml", text).table
    assert len(table) == 3 * 2 * 2
    assert table["id"].tolist()[:5] == [
        *("red-128x128-1", "red-128x128-2", "red-128x192-1", "red-128x192-2", "light_blue-128x128-1")
    ]
    assert table[["text", "resolution", "seed"]].to_numpy().tolist()[-1] == ["绿色 t-shirt", "128×192", 2]


def test_a_new_value_leaves_the_other_rows_as_they_were(tmp_path: Path) -> None:
    before = read(tmp_path, "a.yaml", "template: '{c} mug'\naxes: {c: [red, teal], format: [png, webp]}").table
    after = read(tmp_path, "a.yaml", "template: '{c} mug'\naxes: {c: [blue, red, teal], format: [png, webp]}").table
    kept = after[after["id"].isin(before["id"])]
    assert kept.to_numpy().tolist() == before.to_numpy().tolist()


def test_a_template_may_fill_several_columns(tmp_path: Path) -> None:
    text = (
        "template: {text: '{what}, {{bright}}', watermark_text: '© {what}', id: 'sku-{what}', steps: 12}\n"
        "axes: {what: [mug, hat]}\n"
    )
    table = read(tmp_path, "a.yaml", text).table
    assert table[["id", "text", "watermark_text", "steps"]].to_numpy().tolist() == [
        ["sku-mug", "mug, {bright}", "© mug", 12],
        ["sku-hat", "hat, {bright}", "© hat", 12],
    ]


def test_ids_stay_readable_and_unique_for_any_value(tmp_path: Path) -> None:
    long = "a very long description of a mug that nobody would want to read in a file name"
    values = f"['../..', '', '★', 1.5, '.a..b', '128 × 128', '{long}']"
    assert ids(tmp_path, f"template: 'mug {{x}}'\naxes: {{x: {values}}}") == [
        *("0cfd1c96", "none", "26c57b08", "1.5", "a.b", "128x128", "a_very_long_description_ea382016")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("template: '{color}'\naxes: {colour: [red]}", ["no axis fills '{color}'. Nearest: colour. Axes: colour."]),
        ("template: '{a}'", ["axes: a template needs at least one axis", "no axis fills '{a}'. Axes: none."]),
        ("template: '{a} {'\naxes: {a: [b]}", ["template, text: a single '{'; write '{{' for a brace itself"]),
        ("template: '{a.__class__}'\naxes: {a: [b]}", ["no axis fills '{a.__class__}'."]),
        ("template: x\naxes: {size: [1]}", ["Name it 'resolution' to set the size of the pictures."]),
        ("template: x\naxes: {stepps: [1]}", ["axes, stepps: no {stepps} in the template uses this axis, and it is"]),
        ("template: '{a}'\naxes: {a: []}", ["axes, a: this axis has no values"]),
        ("template: '{a}'\naxes: {a: [b, c, b]}", ["axes, a: the value 'b' is listed 2 times"]),
        ("template: '{a}'\naxes: {a: [[b]]}", ["axes, a: must be a list of single values"]),
        ("template: {text: x, steps: 1}\naxes: {steps: [2]}", ["axes, steps: the template sets this column too"]),
        ("template: x\naxes: {id: [a]}", ["axes, id: ids are made from the other axes"]),
        ("template: '{a}'\naxes: {a: [x], resolution: [511x512]}", ["axes, resolution: width 511, height 512 for"]),
        ("template: '{a}'\naxes: [a]", ["axes: must be a mapping of names to values"]),
        ("template: {txt: '{a}'}\naxes: {a: [b]}", ["template, txt: unknown column. Nearest: text."]),
        ("template: ['{a}']\naxes: {a: [b]}", ["template: must be a mapping of names to values"]),
        ("template: '{a}'\naxes: {a: [x y, x_y]}", ["row 'x_y', id: 'x_y' is already the id of row 'x_y'"]),
    ],
)
def test_a_wrong_template_is_explained(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, "a.yaml", text)
    assert all(any(rule in problem for problem in found) for rule in expected), found


def test_a_mistake_in_an_axis_is_reported_once(tmp_path: Path) -> None:
    text = "template: '{a}'\naxes: {a: [b, c, d], steps: [20, 999]}"
    assert problems(tmp_path, "a.yaml", text) == ["axes, steps: 999 is above the maximum of 200"]


def test_templates_do_not_explode(tmp_path: Path) -> None:
    hundred = list(range(100))
    text = f"template: '{{a}}{{b}}{{c}}'\naxes: {{a: {hundred}, b: {hundred}, c: {hundred}}}"
    assert problems(tmp_path, "a.yaml", text) == ["axes: 1,000,000 combinations are above the maximum of 200,000 rows"]
    long = "x" * 1_000_000
    (problem,) = problems(tmp_path, "a.yaml", f"template: '{'{a}' * 100}'\naxes: {{a: [a, b, {long}]}}")
    assert problem == (
        "template: 3 rows of up to 100,000,300 characters are above the maximum of 268,435,456 characters in all"
    )
