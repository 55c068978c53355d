"""Approved pictures by the ids of their rows, and the table that they came from."""

import csv
import io
import json

import pytest
from openpyxl import Workbook, load_workbook

from io_managers.image_set import manifest_key
from ops.catalog.registered import RegisteredCatalogs
from ops.file_names import file_stems
from ops.review.export import NothingToExportError, export_catalog
from ops.review.verdicts import CatalogVerdicts, State, new_verdict
from resources.local_store import LocalObjectStore
from tests.support.catalog_writer import REGISTRY, write
from tests.support.reviewed_catalog import store_rows


class Shop:
    """A registered catalog, its store, and a folder to deliver to."""

    def __init__(self, folder, file, ids, failed=0):
        self.store, self.target = LocalObjectStore(folder / "store"), LocalObjectStore(folder / "out")
        self.catalogs = RegisteredCatalogs(self.store, renew_after_s=60)
        self.catalogs.register(file, REGISTRY)
        self.rows = store_rows(self.store, file.stem, ids, failed=failed)
        self.name = file.stem

    def say(self, state, *numbers, reason=""):
        rows = [self.rows[number] for number in numbers]
        said = [new_verdict(row.recipe_digest, row.row_id, "ann", state=state, reason=reason) for row in rows]
        CatalogVerdicts(self.store, self.name).record(said)

    def export(self):
        return export_catalog(self.catalogs, self.name, self.target, "", lambda key: f"s3://shop/{key}")

    def files(self):
        return sorted(found.key for found in self.target.list())


def test_a_reviewed_catalog_delivers_what_is_approved_and_only_what_has_changed(tmp_path) -> None:
    yaml = "review: required\nrows:\n" + "".join(f"- {{id: m{n}, text: mug {n}}}\n" for n in range(4))
    shop = Shop(tmp_path, write(tmp_path, "mugs.yaml", yaml), ["m0", "m1", "m2", "m3"], failed=1)
    assert shop.export().pictures == 0
    shop.say(State.APPROVED, 0, 1)
    shop.say(State.REJECTED, 2, reason="blurred")
    done = shop.export()
    assert (done.pictures, done.written, done.kept, done.removed) == (2, 2, 0, 0)
    assert shop.files() == ["imagegenx-export.json", "m0.webp", "m1.webp", "results.csv"]
    assert shop.target.get("m1.webp") == shop.store.get(shop.rows[1].key)
    lines = list(csv.DictReader(io.StringIO(shop.target.get("results.csv").decode("utf-8-sig"))))
    assert [(one["id"], one["status"], one["file"], one["verdict"], one["error"]) for one in lines] == [
        ("m0", "made", "m0.webp", "approved", ""),
        ("m1", "made", "m1.webp", "approved", ""),
        ("m2", "made", "", "rejected: blurred", ""),
        ("m3", "failed", "", "", "the mask is empty"),
    ]
    assert lines[0]["URL"] == f"s3://shop/{shop.rows[0].key}"
    shop.say(State.REJECTED, 0)
    shop.say(State.APPROVED, 2)
    (tmp_path / "out" / "m1.webp").unlink()
    done = shop.export()
    assert (done.pictures, done.written, done.kept, done.removed) == (2, 2, 0, 1)
    assert shop.files() == ["imagegenx-export.json", "m1.webp", "m2.webp", "results.csv"]
    done = shop.export()
    assert (done.written, done.kept, done.removed) == (0, 2, 0)


def test_a_table_comes_back_as_it_was_with_its_results_behind_it(tmp_path) -> None:
    table = 'SKU;Titel;Status\nA/1;ein Becher;aktiv\nA/2;"ein; Krug";weg\na/1 ;noch einer;aktiv\n'
    write(tmp_path, "produkte.csv", table)
    yaml = 'rows_from: produkte.csv\ntemplate: "{Titel}"\ncolumns: {id: SKU}\nwhere: {Status: aktiv}\n'
    shop = Shop(tmp_path, write(tmp_path, "shop.yaml", yaml), ["A/1", "a/1"])
    shop.export()
    lines = list(csv.reader(io.StringIO(shop.target.get("results.csv").decode("utf-8-sig")), delimiter=";"))
    header = ["SKU", "Titel", "Status", "status of picture", "file", "URL", "seed", "verdict", "error"]
    assert lines[0] == header
    names = [line[4] for line in lines[1:]]
    assert [line[:4] for line in lines[1:]] == [
        ["A/1", "ein Becher", "aktiv", "made"],
        ["A/2", "ein; Krug", "weg", ""],
        ["a/1 ", "noch einer", "aktiv", "made"],
    ]
    assert names[1] == ""
    assert {*names} - {""} == {name for name in shop.files() if name.endswith(".webp")}
    assert all(name.casefold().startswith("a_1-") for name in names if name)


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "xlsx"])
def test_results_have_the_format_of_the_table(tmp_path, ending) -> None:
    if ending == "xlsx":
        book = Workbook()
        for line in (["id", "text"], ["m0", "not a formula"], ["m1", "a mug"]):
            book.active.append(line)
        book.save(tmp_path / "mugs.xlsx")
    else:
        text = "id\ttext\nm0\tnot a formula\nm1\ta mug\n"
        objects = '{"id": "m0", "text": "not a formula"}\n{"id": "m1", "text": "a mug"}\n'
        write(tmp_path, f"mugs.{ending}", text if ending == "tsv" else objects)
    shop = Shop(tmp_path, tmp_path / f"mugs.{ending}", ["m0", "m1"])
    shop.say(State.REJECTED, 1, reason="=HYPERLINK(1)")
    shop.export()
    data = shop.target.get(f"results.{ending}")
    if ending == "xlsx":
        header, *lines = load_workbook(io.BytesIO(data)).active.values
    elif ending == "tsv":
        header, *lines = csv.reader(io.StringIO(data.decode("utf-8-sig")), delimiter="\t")
    else:
        objects = [json.loads(line) for line in data.splitlines()]
        header, lines = list(objects[0]), [list(one.values()) for one in objects]
    assert list(header) == ["id", "text", "status", "file", "URL", "seed", "verdict", "error"]
    assert (lines[0][0], lines[0][3], lines[0][6]) == ("m0", "m0.webp", "unreviewed")
    assert lines[1][6] == "rejected: =HYPERLINK(1)"


ACTING = ("=cmd|' /C calc'!A0", "@SUM(1)", "+A1", "-2+3+cmd|' '!A0", "\t=1", "＝1+1", " =1+1")
INERT = ("-5", "+49 (170) 123-45", "-2.5 %", "a=b", "")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "xlsx"])
def test_no_cell_of_a_delivery_is_a_formula_whoever_wrote_it(tmp_path, ending) -> None:
    cells = [*ACTING, *INERT]
    delimiter = "\t" if ending == "tsv" else ","
    if ending == "xlsx":
        book = Workbook()
        for line in (["id", "text", "Note"], *([f"m{n}", "a mug", cell] for n, cell in enumerate(cells))):
            book.active.append(line)
        for (cell,) in book.active["C2:C20"]:
            cell.data_type = "s"
        book.save(tmp_path / "mugs.xlsx")
    elif ending in ("csv", "tsv"):
        text = io.StringIO()
        lines = ([f"m{n}", "a mug", cell] for n, cell in enumerate(cells))
        csv.writer(text, delimiter=delimiter).writerows([["id", "text", "Note"], *lines])
        write(tmp_path, f"mugs.{ending}", text.getvalue())
    else:
        rows = ({"id": f"m{n}", "text": "a mug", "Note": cell} for n, cell in enumerate(cells))
        write(tmp_path, "mugs.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    yaml = f'rows_from: mugs.{ending}\ntemplate: "{{text}}"\ncolumns: {{id: id}}\n'
    shop = Shop(tmp_path, write(tmp_path, "shop.yaml", yaml), [f"m{n}" for n in range(len(cells))])
    shop.export()
    data = shop.target.get(f"results.{ending}")
    if ending == "xlsx":
        found = [row[2] for row in load_workbook(io.BytesIO(data)).active.iter_rows(min_row=2)]
        assert {cell.data_type for cell in found} <= {"s", "inlineStr", "n"}
        assert [cell.value or "" for cell in found] == cells
    elif ending == "jsonl":
        assert [json.loads(line)["Note"] for line in data.splitlines()] == cells
    else:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter)
        column = [line[2] for line in lines][1:]
        assert column == [*(f"'{cell}" for cell in ACTING), *INERT]


def test_a_catalog_that_was_never_made_is_told_so(tmp_path) -> None:
    shop = Shop(tmp_path, write(tmp_path, "mugs.csv", "text\na mug\n"), [])
    shop.store.delete(manifest_key("watermarked_images", "mugs"))
    with pytest.raises(NothingToExportError, match="has not been made yet"):
        shop.export()


def test_names_of_files_are_safe_and_differ_everywhere() -> None:
    ids = ["mug-1", "春装 1", "a/b", "a\\b", "..", "CON", "x" * 300, "Mug-1", "end. ", "\u202eevil"]
    names = list(file_stems(ids).values())
    assert names[:2] == ["mug-1", "春装 1"]
    assert len({name.casefold() for name in names}) == len(ids)
    for name in names:
        assert not set(name) & set('/\\:*?"<>|\u202e')
        assert len(name.encode()) < 200
        assert name.strip(". ") == name != "CON"
