"""YAML catalogs whose rows come from a table of something else."""

from pathlib import Path

import pytest

from tests.support.catalog_writer import problems, read, write

PRODUCTS = (
    "Handle,Title,Colour,SKU,Status,Body (HTML)\n"
    "tee,Linen tee,red,T-1,Active,soft\n"
    "tee,,blue,T-2,Active,\n"
    "tee,,,,,\n"
    "mug,Tall mug,,M-1,Draft,\n"
    "hat,Straw hat,tan,H-1,active,\n"
)


def made(folder: Path, yaml: str, table: str = PRODUCTS, name: str = "products.csv") -> list[list[str]]:
    write(folder, name, table)
    return read(folder, "a.yaml", f"rows_from: {name}\n{yaml}").table[["id", "text"]].to_numpy().tolist()


def told(folder: Path, yaml: str, table: str = PRODUCTS) -> list[str]:
    write(folder, "products.csv", table)
    return problems(folder, "a.yaml", f"rows_from: products.csv\n{yaml}")


def test_variants_take_what_their_product_says_and_rows_are_chosen(tmp_path: Path) -> None:
    yaml = (
        "join: Handle\nwhere: {Status: [Active, active], SKU: '*'}\n"
        "template: '{Title}, {Colour} on white'\ncolumns: {id: SKU}\n"
    )
    assert made(tmp_path, yaml) == [
        ["T-1", "Linen tee, red on white"],
        ["T-2", "Linen tee, blue on white"],
        ["H-1", "Straw hat, tan on white"],
    ]


def test_several_columns_have_patterns_and_defaults_hold_for_all(tmp_path: Path) -> None:
    yaml = (
        "where: {SKU: '*', Title: '*'}\ndefaults: {steps: 7}\n"
        "template: {text: '{Title} ({{new}})', id: '{SKU}/{Handle}'}\n"
    )
    assert made(tmp_path, yaml)[0] == ["T-1/tee", "Linen tee ({new})"]
    assert set(read(tmp_path, "a.yaml", f"rows_from: products.csv\n{yaml}").table["steps"]) == {7}


def test_lines_of_json_may_hold_more_than_is_taken(tmp_path: Path) -> None:
    table = '{"tag": {"a": [1]}, "prompt": "a mug"}\n{"tag": 1, "prompt": "a hat"}\n'
    rows = made(tmp_path, "columns: {text: prompt}\n", table, "prompts.jsonl")
    assert [text for _, text in rows] == ["a mug", "a hat"]


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("template: '{Titel}'", "template, Titel: the table has no such column. Nearest: Title."),
        ("columns: {text: Titel}", "columns, Titel: the table has no such column. Nearest: Title."),
        ("template: x\nwhere: {State: a}", "where, State: the table has no such column. Nearest: Status."),
        ("template: x\njoin: Handel", "join, Handel: the table has no such column. Nearest: Handle."),
        ("columns: {prompt: Title}", "columns, prompt: unknown column. Nearest: text."),
        ("columns: {id: SKU}", "template: needed beside 'rows_from:', such as '{Title} on white', or 'text' in"),
        ("template: '{Title'", "template, text: a single '{'; write '{{' for a brace itself"),
        ("template: x\nrows: [{text: a}]", "rows: cannot be given beside 'rows_from:'"),
        ("template: x\naxes: {a: b}", "axes: cannot be given beside 'rows_from:'"),
        ("template: x\ncolumns: {text: Title}", "columns, text: the template sets this column too; keep one of them"),
        ("template: x\nwhere: {Status: none}", "the catalog has no rows"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, yaml: str, problem: str) -> None:
    assert any(one.startswith(problem) for one in told(tmp_path, yaml))


def test_a_column_that_the_table_has_twice_is_refused_only_if_it_is_used(tmp_path: Path) -> None:
    table = "Title,Note,Note\na mug,1,2\n"
    assert made(tmp_path, "template: '{Title}'", table)[0][1] == "a mug"
    assert told(tmp_path, "template: '{Note}'", table) == ["template, Note: the table has this column twice"]


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("gone.csv", "rows_from: there is no file 'gone.csv' beside the catalog"),
        ("../products.csv", "rows_from: '../products.csv' cannot be read: '../products.csv' must not contain"),
        ("a.yaml", "rows_from: 'a.yaml' is no table; use .csv, .tsv, .jsonl, .xlsx"),
        ("[a]", "rows_from: must be the name of a table beside the catalog, such as products.csv"),
    ],
)
def test_a_table_is_a_file_beside_the_catalog(tmp_path: Path, reference: str, problem: str) -> None:
    found = problems(tmp_path, "a.yaml", f"rows_from: {reference}\ntemplate: x\n")
    assert any(one.startswith(problem) for one in found)


def test_keys_of_tables_belong_to_one(tmp_path: Path) -> None:
    assert problems(tmp_path, "a.yaml", "rows: [{text: a}]\nwhere: {a: b}\n") == ["where: belongs to 'rows_from:'"]
