"""CSV catalogs."""

from pathlib import Path

import pytest

from tests.ops.catalog_writer import problems, read


def test_cells_are_taken_to_the_letter(tmp_path: Path) -> None:
    catalog = read(tmp_path, "a.csv", 'text,seed\nNA,1\nnull,2\n"a ""big"", red mug",3\n007,4\n"two\nlines",5\n')
    assert catalog.table["text"].tolist() == ["NA", "null", 'a "big", red mug', "007", "two\nlines"]
    assert catalog.table["seed"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path, encoding: str, newline: str) -> None:
    catalog = read(tmp_path, "a.csv", newline.join(["text,id", "红色T恤,a", ""]).encode(encoding))
    assert catalog.table[["id", "text"]].to_numpy().tolist() == [["a", "红色T恤"]]


def test_blank_lines_are_skipped_and_lines_still_counted(tmp_path: Path) -> None:
    rule = "line 6, steps: 'x' is not a whole number"
    assert problems(tmp_path, "a.csv", 'text,steps\n\n"two\nlines",3\n,\na mug,x\n') == [rule]


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    text = (
        "id,text,resolution,steps,cfg_scale,model_type,sampler,format,lora_name\n"
        "a,a mug,511×512,20,4,tiny,Euler,webp,\n"
        "../b, ,128x128,0,31,tinny,Eular,gif,\n"
        "c,a mug\n"
        "a,a mug,128x128,20,x,tiny,Euler,jpeg,skech\n"
    )
    assert problems(tmp_path, "a.csv", text) == [
        "line 2, resolution: width 511, height 512 for model 'tiny': both must be multiples of 8. Nearest: 256×256.",
        "line 3, id: '../b' is not an id: 1 to 100 letters, digits, '_', '-' and '.', beginning with a letter, "
        "a digit or '_', without '..'",
        "line 3, text: blank, but must say something",
        "line 3, steps: 0 is below the minimum of 1",
        "line 3, cfg_scale: 31 is above the maximum of 30.0",
        "line 3, sampler: 'Eular' is not one of Euler, Euler a, DPM++ 2M, DPM++ 2M Karras, DDIM, UniPC, LMS, Heun, "
        "PNDM, LCM. Nearest: Euler.",
        "line 3, format: 'gif' is not one of webp, png, jpg.",
        "line 3, model_type: no model 'tinny'. Nearest: tiny. Known models: controlnet_canny, sd1.5, sdxl, tiny.",
        "line 4: 2 cells, but the header names 9 columns. Put cells with commas in quotation marks.",
        "line 5, id: 'a' is already the id of line 2",
        "line 5, cfg_scale: 'x' is not a number",
        "line 5, lora_name: LoRA of model 'tiny': 'skech' is not one of sketch, pastel. Nearest: sketch.",
    ]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("text,resolutoin", "line 1, resolutoin: unknown column. Nearest: resolution."),
        ("text,prompt", "line 1, prompt: unknown column. Nearest: text."),
        ("text,size", "line 1, size: unknown column. Nearest: resolution."),
        ("text,", "line 2, column 2: has a cell, but no name in the first line"),
        ("text,text", "line 1, text: this column is named twice"),
        ("text" + ",text" * 200_000, "line 1: 200,001 columns are above the maximum of 1,000"),
    ],
)
def test_a_wrong_column_is_named_with_the_nearest_known(tmp_path: Path, header: str, problem: str) -> None:
    assert problems(tmp_path, "a.csv", f"{header}\na mug,x\n") == [problem]


def test_columns_that_hold_nothing_at_all_do_not_matter(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", "id,text,,\na,a red mug,,\n,,,\nb,a hat, ,\n").table
    assert list(table["text"]) == ["a red mug", "a hat"]


def test_a_column_that_nothing_resembles_lists_the_known_ones(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "a.csv", "text,zzzzzzzz\na mug,x\n")
    assert problem.startswith("line 1, zzzzzzzz: unknown column. Known: id, text, negative_text, model_type, ")


def test_wrong_columns_do_not_hide_wrong_rows(tmp_path: Path) -> None:
    assert problems(tmp_path, "a.csv", "text,stepz,steps\na mug,red,999\n") == [
        "line 1, stepz: unknown column. Nearest: steps.",
        "line 2, steps: 999 is above the maximum of 200",
    ]


def test_a_file_without_prompts_column_says_so(tmp_path: Path) -> None:
    rule = "line 1, text: required, but there is no such column"
    assert problems(tmp_path, "a.csv", "id,steps\na,x\n") == [rule]


def test_other_separators_are_recognised(tmp_path: Path) -> None:
    rule = "line 1: the header 'id;text' has no comma: separate the columns by commas"
    assert problems(tmp_path, "a.csv", "id;text\na;a mug\n") == [rule]


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_file_says_what_it_must_hold(tmp_path: Path, text: str) -> None:
    rule = "the file is empty: the first line must name the columns, 'text' among them"
    assert problems(tmp_path, "a.csv", text) == [rule]


def test_a_catalog_of_no_rows_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "a.csv", "id,text\n") == ["the catalog has no rows"]


def test_nul_characters_are_named_by_line(tmp_path: Path) -> None:
    rule = "contains a NUL character; is this a text file?"
    assert problems(tmp_path, "a.csv", b"text\na mug\nb\0d\n\0\n") == [f"line 3: {rule}", f"line 4: {rule}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"text\na mug\ncaf\xe9\n", "line 3: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("text\n红\n".encode("utf-16"), "this is UTF-16; save the file as UTF-8"),
        ("text\n红色\n".encode("gb18030"), "line 2: byte 0xba is not UTF-8; save the file as UTF-8"),
    ],
)
def test_other_encodings_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    assert problems(tmp_path, "a.csv", content) == [problem]


def test_a_prompt_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    hint = "Is a quotation mark missing, or not doubled inside a cell?"
    assert problems(tmp_path, "a.csv", "text\na mug\n" + "mug " * 2_500_000) == [
        f"line 3: field larger than field limit (131072). {hint}"
    ]
    rule = "line 2, text: 10,001 characters are above the maximum of 10,000"
    assert problems(tmp_path, "a.csv", f"text\n{'x' * 10_001}\n") == [rule]


def test_an_open_quotation_mark_is_found_where_it_begins(tmp_path: Path) -> None:
    hint = "Is a quotation mark missing, or not doubled inside a cell?"
    assert problems(tmp_path, "a.csv", 'text\na mug\n"a hat\na bag\n') == [f"line 3: unexpected end of data. {hint}"]


def test_equal_rows_need_ids_of_their_own(tmp_path: Path) -> None:
    assert problems(tmp_path, "a.csv", "text,steps\na mug,20\na hat,20\na mug,20\n") == [
        "line 4, id: this row repeats line 2; give both an id of their own, or a seed"
    ]


def test_a_row_keeps_its_id_when_columns_and_rows_come_and_go(tmp_path: Path) -> None:
    before = read(tmp_path, "a.csv", "text,steps\na mug,20\na hat,30\n").table
    after = read(tmp_path, "a.csv", "format,steps,text\n,30,a hat\n,20,a bag\n").table
    assert after["id"][0] == before["id"][1]
    assert after["seed"][0] == before["seed"][1]
    assert len(set(before["id"]) | set(after["id"])) == 3
