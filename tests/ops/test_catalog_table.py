"""Catalogs that are tables: CSV and its relatives, lines of JSON, workbooks."""

import io
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.catalog import sheet
from ops.catalog.problems import CatalogError
from ops.catalog.reading import read_catalog
from tests.support.catalog_writer import REGISTRY, problems, read
from tests.support.fuzzing import TIMES


def test_cells_are_taken_to_the_letter(tmp_path: Path) -> None:
    catalog = read(tmp_path, "a.csv", 'text,seed\nNA,1\nnull,2\n"a ""big"", red mug",3\n007,4\n"two\nlines",5\n')
    assert catalog.table["text"].tolist() == ["NA", "null", 'a "big", red mug', "007", "two\nlines"]
    assert catalog.table["seed"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
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


def test_a_wrong_column_and_a_wrong_cell_are_told_at_once(tmp_path: Path) -> None:
    assert problems(tmp_path, "a.csv", "id,prompt,steps\na,a mug,x\n") == [
        "line 1, prompt: unknown column. Nearest: text.",
        "line 1, text: required, but there is no such column",
        "line 2, steps: 'x' is not a whole number",
    ]


def test_many_foreign_columns_are_told_as_one(tmp_path: Path) -> None:
    header = ",".join(["text", *(f"qqqq{number}zzzz" for number in range(45))])
    (problem,) = problems(tmp_path, "a.csv", f"{header}\n{',' * 45}\na{',' * 45}\n")
    assert problem.startswith("line 1: unknown columns: 'qqqq0zzzz', 'qqqq1zzzz', ")
    assert " and 40 more. Remove them, or keep the table and name it in a YAML catalog's rows_from. " in problem
    assert " Known: id, text, " in problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id;text;cfg_scale\na;a mug, red;4,5\n"),
        ("a.csv", "sep=;\r\nid;text;cfg_scale\r\na;a mug, red;4,5\r\n"),
        ("a.csv", '"sep=;"\nid;text;cfg_scale\na;a mug, red;4.5\n'),
        ("a.csv", "SEP=;;;\n\ufeffid;text;cfg_scale\na;a mug, red;4.5\n"),
        ("a.csv", "sep=\t\nid\ttext\tcfg_scale\na\ta mug, red\t4.5\n"),
        ("a.csv", "id\ttext\tcfg_scale\na\ta mug, red\t4.5\n"),
        ("a.tsv", "id\ttext\tcfg_scale\na\ta mug, red\t4.5\n"),
        ("a.csv", 'id,text,cfg_scale\na,"a mug, red",4.5\n'),
        ("a.jsonl", '{"id": "a", "text": "a mug, red"}\n\n'.replace("}", ', "cfg_scale": 4.5}')),
    ],
)
def test_the_forms_that_programs_write_are_read(tmp_path: Path, name: str, text: str) -> None:
    table = read(tmp_path, name, text).table
    assert table[["id", "text", "cfg_scale"]].to_numpy().tolist() == [["a", "a mug, red", 4.5]]


def test_lines_are_counted_behind_a_line_that_names_the_separator(tmp_path: Path) -> None:
    rule = "line 3, steps: 'x' is not a whole number"
    assert problems(tmp_path, "a.csv", "sep=;\ntext;steps\na mug;x\n") == [rule]


def test_words_and_numbers_are_taken_as_people_type_them(tmp_path: Path) -> None:
    header = "ID,Text,Steps,Super Resolution,Watermark_Text,watermark-position,FORMAT,Sampler,seed"
    (row,) = read(
        tmp_path, "a.csv", f"{header}\nSKU 12/3 (red),a mug,7.0,2X,春,Bottom Right,PNG,euler A,3.00\n"
    ).table.to_dict("records")
    assert (row["id"], row["steps"], row["seed"]) == ("SKU 12/3 (red)", 7, 3)
    assert (row["super_resolution"], row["watermark_position"]) == ("2x", "bottom-right")
    assert (row["format"], row["sampler"]) == ("png", "Euler a")


def test_empty_cells_behind_the_last_column_are_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "id,text\na,a mug,\nb,a hat,,\n").table["id"].tolist() == ["a", "b"]


@pytest.mark.parametrize("cell", ["#REF!", "#N/A", "N/A", "nan", "NaN", " #VALUE! "])
def test_what_a_spreadsheet_writes_for_no_value_is_not_painted(tmp_path: Path, cell: str) -> None:
    rule = f"line 2, text: {cell.strip()!r} is a spreadsheet's word for no value; write the value, or leave the cell"
    assert problems(tmp_path, "a.csv", f"id,text\na,{cell}\n") == [f"{rule} empty"]


@pytest.mark.parametrize("line", ['{"id": "a\\ud800", "text": "a mug"}', '{"text": "a", "x": [{"y": "\\uDFFF"}]}'])
def test_half_a_character_is_a_problem_of_its_line(tmp_path: Path, line: str) -> None:
    rule = "line 2: not a JSON object: it holds half a character (a lone surrogate)"
    assert problems(tmp_path, "a.jsonl", f'{{"text": "caf\\u00e9 \\ud83d\\ude00"}}\n{line}\n') == [rule]


def test_a_formula_is_not_painted(tmp_path: Path) -> None:
    rule = "line 2, text: '=SUM(A1)' is a formula; save the sheet with its values"
    assert problems(tmp_path, "a.csv", "id,text\na,=SUM(A1)\n") == [rule]


@pytest.mark.parametrize("row_id", ["a\u202eb", "a\tb", "x" * 201])
def test_ids_are_short_and_printable(tmp_path: Path, row_id: str) -> None:
    rule = f"line 2, id: {row_id[:80]!r} must be at most 200 letters, none of them a control character"
    assert problems(tmp_path, "a.csv", f"id,text\n{row_id},a mug\n") == [rule]


def workbook(rows, **sheets) -> bytes:
    book = openpyxl.Workbook()
    for title, content in {"first": rows, **sheets}.items():
        sheet = book.create_sheet(title)
        for row in content:
            sheet.append(row)
    book.remove(book.worksheets[0])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_is_read_with_its_numbers_truths_and_words(tmp_path: Path) -> None:
    rows = [["id", "text", "steps", "cfg_scale"], ["007", "红色T恤", 20, 4.5], [None] * 4, [12, "a hat", 7.0, 4]]
    table = read(tmp_path, "a.xlsx", workbook(rows)).table
    assert table[["id", "text", "steps", "cfg_scale"]].to_numpy().tolist() == [
        ["007", "红色T恤", 20, 4.5],
        ["12", "a hat", 7, 4.0],
    ]


def test_rows_of_a_workbook_have_the_numbers_that_its_program_shows(tmp_path: Path) -> None:
    content = workbook([[None, None], ["text", "steps"], [], ["a mug", "x"]])
    assert problems(tmp_path, "a.xlsx", content) == ["row 4, steps: 'x' is not a whole number"]


def test_the_sheet_with_the_prompts_is_read_and_two_are_refused(tmp_path: Path) -> None:
    prompts = [["text"], ["a mug"]]
    assert read(tmp_path, "a.xlsx", workbook([["price"], [3]], second=prompts)).table["text"].tolist() == ["a mug"]
    (problem,) = problems(tmp_path, "b.xlsx", workbook(prompts, second=prompts))
    assert problem == "the sheets 'first', 'second' all have a column 'text'; keep one of them in the file"


def test_a_workbook_that_is_damaged_empty_or_a_bomb_is_refused(tmp_path: Path, monkeypatch) -> None:
    content = workbook([["text"], ["a mug"]])
    rule = "this is not a workbook that can be read (BadZipFile); save it again as .xlsx"
    assert problems(tmp_path, "a.xlsx", content[:-30]) == [rule]
    assert problems(tmp_path, "b.xlsx", workbook([])) == [
        "the workbook holds no table: its first row must name the columns, 'text' among them"
    ]
    monkeypatch.setattr(sheet, "MAX_UNPACKED_BYTES", 1000)
    (problem,) = problems(tmp_path, "c.xlsx", content)
    assert problem == "the workbook unpacks to more than 1,000 bytes; save it as CSV, in UTF-8"


def with_cells(content: bytes, sheet: str, texts: str = "") -> bytes:
    """A workbook whose first sheet, and what its cells share, is this XML instead."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    shared = f'<Override PartName="/xl/texts.xml" ContentType="{kind}"/></Types>'
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            part = sheet if name == "xl/worksheets/sheet1.xml" else before.read(name).decode()
            after.writestr(name, part.replace("</Types>", shared) if texts else part)
        after.writestr("xl/texts.xml", texts)
    return file.getvalue()


def cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
WORKSHEET = (
    f'<worksheet xmlns="{NAMESPACE}"><dimension ref="A1:XFD1048576"/>'
    f'<sheetData><row r="1">{cell("A1", "text")}</row>{{}}</sheetData></worksheet>'
)


def test_a_workbook_may_say_that_it_is_large_and_is_read_for_what_it_holds(tmp_path: Path) -> None:
    sheet = WORKSHEET.format(f'<row r="9000">{cell("A9000", "a mug")}{cell("CV9000", "")}</row>')
    began_s = time.process_time()
    table = read(tmp_path, "a.xlsx", with_cells(workbook([]), sheet)).table
    assert table["text"].tolist() == ["a mug"]
    assert time.process_time() - began_s < 10


@pytest.mark.parametrize(
    "rows",
    [
        "".join(f'<row r="{n}">{cell(f"A{n}", "a mug")}{cell(f"XFD{n}", "")}</row>' for n in range(2, 60)),
        f'<row r="99999999">{cell("A99999999", "a mug")}</row>',
    ],
)
def test_a_workbook_of_few_bytes_and_millions_of_cells_is_refused(tmp_path: Path, monkeypatch, rows: str) -> None:
    monkeypatch.setattr(sheet, "MAX_CELLS", 500_000)
    found = problems(tmp_path, "a.xlsx", with_cells(workbook([]), WORKSHEET.format(rows)))
    assert "the workbook has more than 500,000 cells, most of them empty; delete the empty ones" in found[-1]


def test_a_workbook_of_one_long_text_in_all_rows_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sheet, "MAX_UNPACKED_BYTES", 500_000)
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(2, 40))
    texts = f'<sst xmlns="{NAMESPACE}"><si><t>{"a mug" * 6000}</t></si></sst>'
    found = problems(tmp_path, "a.xlsx", with_cells(workbook([]), WORKSHEET.format(rows), texts))
    assert found[-1] == "row 18: the workbook unpacks to more than 500,000 bytes; save it as CSV, in UTF-8"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (f'<row r="2">{cell("ZZZZ2", "a mug")}</row>', "ValueError"),
        ('<row r="2"><c r="A2" t="s"><v>99999</v></c></row>', "IndexError"),
        (f'<row r="2"><c r="A2" t="n"><v>{"9" * 9000}</v></c></row>', "ValueError"),
        (f'<row r="2">{cell("A2", "a mug" * 100_000)}</row><row r="3">{cell("A3", "&x;")}</row>', "ParseError"),
    ],
)
def test_a_workbook_that_goes_wrong_further_down_is_refused(tmp_path: Path, row: str, kind: str) -> None:
    found = problems(tmp_path, "a.xlsx", with_cells(workbook([]), WORKSHEET.format(row)))
    assert found[-1] == f"this is not a workbook that can be read ({kind}); save it again as .xlsx"


XML = [
    *('<row r="2">', "</row>", '<row r="x">', "<row>", '<c r="A2" t="s">', '<c t="inlineStr">', '<c r="A1048577">'),
    *("</c>", '<c t="d">', '<c t="e">', '<c t="b">', '<c s="9">', "<v>1</v>", "<v>1e999</v>", "<v>x</v>"),
    *("<is><t>a</t></is>", "&a;", "<f>1/0</f>", "<v/>", '<mergeCell ref="A1:A9"/>', "\0"),
]


@settings(max_examples=150 * TIMES)
@given(st.lists(st.sampled_from(XML), max_size=12).map("".join))
def test_whatever_a_workbook_holds_only_a_catalog_error_comes_out(tmp_path_factory, rows: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.xlsx"
    file.write_bytes(with_cells(workbook([]), WORKSHEET.format(rows)))
    with suppress(CatalogError):
        read_catalog(file, REGISTRY)


def test_thousands_of_columns_are_judged_quickly(tmp_path: Path) -> None:
    columns = ",".join(f'"c{number}":1' for number in range(60_000))
    began_s = time.process_time()
    found = problems(tmp_path, "a.jsonl", f'{{{columns},"text":"a mug","text":"a hat"}}')
    assert "the column 'text' is named twice" in found[0]
    lines = "".join(f'{{"text": "a mug", "c{number}": 1}}\n' for number in range(20_000))
    assert problems(tmp_path, "b.jsonl", lines) == ["line 1: 20,001 columns are above the maximum of 1,000"]
    assert time.process_time() - began_s < 15


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("[1]", "[1] is not a JSON object of columns"),
        ('{"text": "a", "text": "b"}', "not a JSON object: the column 'text' is named twice"),
        ('{"text": NaN}', "not a JSON object: NaN is not a number"),
        ('{"text": "a"', "not a JSON object: Expecting ',' delimiter"),
        ("[" * 100_000, "not a JSON object: maximum recursion depth exceeded"),
    ],
)
def test_a_line_of_json_that_is_no_row_is_named(tmp_path: Path, line: str, rule: str) -> None:
    (problem, *_) = problems(tmp_path, "a.jsonl", f'{{"text": "a mug"}}\n{line}\n')
    assert problem.startswith(f"line 2: {rule}")


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
        ("text\nMüller, Grün\n".encode("cp1252"), "line 2: byte 0xfc is not UTF-8; save the file as UTF-8"),
        ("text\n赤いマグ\n".encode("shift_jis"), "line 2: byte 0x90 is not UTF-8; save the file as UTF-8"),
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


def test_quotation_marks_of_a_plain_tab_separated_table_are_part_of_its_cells(tmp_path: Path) -> None:
    table = 'text\tid\n"SALE" in red letters on a mug\ta\na mug, 5" high\tb\n'
    texts = read(tmp_path, "a.tsv", table).table["text"].tolist()
    assert texts == ['"SALE" in red letters on a mug', 'a mug, 5" high']


@pytest.mark.parametrize("odd", ['"a ""large"" hat" x\tb', '"a hat\tb\tc', '"a\nhat'])
def test_a_tab_separated_table_that_a_spreadsheet_wrote_must_have_its_quotation_marks_whole(
    tmp_path: Path, odd: str
) -> None:
    (problem,) = problems(tmp_path, "a.tsv", f"text\tid\na mug\ta\n{odd}\n")
    assert problem.startswith("line 3: ")
    assert problem.endswith("Is a quotation mark missing, or not doubled inside a cell?")


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


def test_text_marks_are_judged_as_shaped_text_when_a_catalog_is_read(tmp_path: Path) -> None:
    """As phones and spreadsheets write them: variation selectors, decomposed letters, marks of direction."""
    good = ["©\ufe0f Shop", "Mu\u0308ller", "Vie\u0323\u0302t", "\u200eShop\u200f", "10\u202f000", "\ufeffShop"]
    rows = "\n".join(f"{number},a mug,{text}" for number, text in enumerate(good))
    assert read(tmp_path, "a.csv", f"id,text,watermark_text\n{rows}\n").table["watermark_text"].tolist() == good

    rule = "has no glyph for '👩\\u200d🚀'. Leave it out, or name a font that has it."
    assert problems(tmp_path, "b.csv", "text,watermark_text\na mug,by 👩\u200d🚀\n") == [
        f"line 2, watermark_text: watermark text: the font 'NotoSansCJK-Regular.ttc' {rule}"
    ]
