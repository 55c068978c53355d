"""Catalogs as a whole: tables, requests, input pictures, limits."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.planning import row_seed
from models.request import Mode, Priority
from ops.catalog.columns import COLUMNS
from ops.catalog.endings import MAX_BYTES
from ops.catalog.pictures import FolderFiles
from ops.catalog.problems import CatalogError
from ops.catalog.reading import catalog_name, read_catalog, row_request
from tests.support.catalog_writer import REGISTRY, problems, read, write
from tests.support.fuzzing import TIMES


def test_the_table_has_every_column_with_every_default_filled_in(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", "text\na red mug\n").table
    (row,) = table.to_dict("records")
    row_id = row["id"]
    assert row == {
        **{"id": row_id, "text": "a red mug", "negative_text": "", "model_type": "tiny", "resolution": "128×128"},
        **{
            "steps": 20,
            "cfg_scale": 4.0,
            "sampler": "DDIM",
            "schedule": "",
            "step_cache": "",
            "seed": row_seed(row_id),
        },
        **{
            "strength": 0.75,
            "lora_name": "",
            "lora_weight": 1.0,
            "loras": "",
            "image": "",
            "mask": "",
            "control_image": "",
            "control_weight": 1.0,
            "control_start": 0.0,
            "control_end": 1.0,
            "controls": "",
            "upscaler": "",
        },
        **{"super_resolution": "", "watermark_text": "", "watermark_position": "bottom-right"},
        **{"watermark_color": "#FFFFFF", "watermark_transparency": 0.7, "watermark_image": "", "watermark_font": ""},
        **{"watermark_font_size": 0, "watermark_margin": 20, "watermark_scale": 0.15, "format": "webp"},
    }
    assert list(table.columns) == list(COLUMNS)


def test_a_row_names_several_loras_in_one_cell(tmp_path: Path) -> None:
    catalog = read(tmp_path, "a.csv", 'id,text,loras\na,a mug,"sketch:0.5; pastel"\n')
    ((_, request),) = catalog.requests()

    assert [(lora.name, lora.weight) for lora in request.params.loras] == [("sketch", 0.5), ("pastel", 1.0)]
    assert catalog.table["loras"][0] == "sketch:0.5; pastel:1.0"
    assert row_request(catalog.table.iloc[0]) == request
    assert problems(tmp_path, "b.csv", "text,loras\na mug,sketch; skech\n") == [
        "line 2, loras: LoRA of model 'tiny': 'skech' is not one of sketch, pastel. Nearest: sketch."
    ]


def test_a_row_of_the_table_becomes_its_request_again(tmp_path: Path) -> None:
    text = (
        "id,text,negative_text,resolution,steps,cfg_scale,sampler,seed,lora_name,lora_weight,super_resolution,"
        "watermark_text,watermark_color,watermark_transparency,format\n"
        'a," 红色T恤, 新款 ",blurry,192*128,12,7.25,Euler a,9007199254740991,sketch,-0.5,4x,© 店,"0,128,255",0.5,jpeg\n'
    )
    catalog = read(tmp_path, "a.csv", text)
    ((row_id, request),) = catalog.requests()
    params, post = request.params, request.params.post_process
    assert (row_id, request.text, params.negative_text) == ("a", " 红色T恤, 新款 ", "blurry")
    assert (str(params.resolution), params.steps, params.cfg_scale) == ("192×128", 12, 7.25)
    assert (params.sampler, params.seed) == ("Euler a", 2**53 - 1)
    assert (params.lora_name, params.lora_weight) == ("sketch", -0.5)
    assert (post.super_resolution, post.format) == ("4x", "jpg")
    mark = post.watermark
    assert (mark.enable, mark.text, mark.color, mark.transparency) == (True, "© 店", "#0080FF", 0.5)
    assert request.priority is Priority.BULK
    assert row_request(catalog.table.iloc[0]) == row_request(catalog.table.to_dict("records")[0]) == request


def test_a_table_survives_parquet(tmp_path: Path) -> None:
    import pandas as pd

    catalog = read(tmp_path, "a.csv", "text,seed\nNA,1\n红色,9007199254740991\n")
    catalog.table.to_parquet(tmp_path / "a.parquet")
    again = pd.read_parquet(tmp_path / "a.parquet")
    assert [row_request(row) for _, row in again.iterrows()] == [request for _, request in catalog.requests()]


@pytest.mark.parametrize("name", ["春季-2025.csv", "a.b.csv", "_x.yaml", f"{'x' * 100}.csv"])
def test_a_catalog_is_named_like_its_file(name: str) -> None:
    assert catalog_name(Path("anywhere") / name) == name.rsplit(".", 1)[0]


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("a b.csv", "a_b.csv"),
        ("shop (1).csv", "shop_1.csv"),
        ("Spring shop - Sheet1.csv", "Spring_shop.csv"),
        ("...csv", ""),
        ("a..b.csv", "a.b.csv"),
        ("-a.csv", "a.csv"),
        (".csv", "csv"),
        ("a:b.csv", "a_b.csv"),
        (f"{'x' * 101}.csv", f"{'x' * 100}.csv"),
    ],
)
def test_a_file_name_that_is_no_catalog_name_is_refused_with_one_that_is(
    tmp_path: Path, name: str, suggested: str
) -> None:
    (problem,) = problems(tmp_path, name, "text\na\n")
    rule = (
        "the file must be named by 1 to 100 letters, digits, '_', '-' and '.', beginning with a letter, a digit "
        "or '_', without '..', of at most 240 bytes"
    )
    assert problem == rule + (f". Name it '{suggested}'" if suggested else "")


def test_other_files_are_refused(tmp_path: Path) -> None:
    rule = "'.json' is not a catalog's ending; save the table as .xlsx or .csv"
    assert problems(tmp_path, "a.json", "[]") == [rule]
    rule = "'.docx' is not a catalog's ending; use .csv, .tsv, .jsonl, .xlsx, .yaml, .yml"
    assert problems(tmp_path, "a.docx", "PK") == [rule]
    with pytest.raises(CatalogError, match=r"^catalog 'gone': 1 problem\n  no file .*gone\.csv$"):
        read_catalog(tmp_path / "gone.csv", REGISTRY)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CatalogError, match="no file"):
        read_catalog(tmp_path / "folder.csv", REGISTRY)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.truncate(MAX_BYTES[".csv"] + 1)
    with pytest.raises(CatalogError, match=r"268,435,457 bytes are above the maximum of 268,435,456 for \.csv"):
        read_catalog(tmp_path / "a.csv", REGISTRY)


def test_more_problems_than_anyone_reads_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "text,steps\n" + "".join(f"mug {n},x\n" for n in range(5_000)))
    with pytest.raises(CatalogError, match="5,000 problems") as caught:
        read_catalog(file, REGISTRY)
    assert len(caught.value.problems) == 1_000
    assert str(caught.value).endswith("  line 1001, steps: 'x' is not a whole number\n  … and 4,000 more")


def test_the_digest_follows_the_content_and_the_pictures(tmp_path: Path) -> None:
    text = "text,image\na mug,in.png\n"
    write(tmp_path, "in.png", b"one")
    first = read(tmp_path, "a.csv", text)
    assert read(tmp_path, "b.csv", text).digest == first.digest
    assert read(tmp_path, "a.csv", text + "a hat,in.png\n").digest != first.digest
    write(tmp_path, "in.png", b"two")
    assert read(tmp_path, "a.csv", text).digest != first.digest


def test_input_pictures_are_files_of_the_folder_or_object_keys(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "shoe.png", b"picture")
    header = "text,image,mask,control_image,model_type\n"
    catalog = read(tmp_path, "a.csv", f"{header}a,in/shoe.png,,,tiny\nb,k/1.png,in/shoe.png,,tiny\nc,,,k/2.png,tiny\n")
    assert [picture.reference for picture in catalog.pictures] == ["in/shoe.png"]
    assert catalog.pictures[0].read() == b"picture"
    assert catalog.objects == ("k/1.png", "k/2.png")
    requests = dict(zip("abc", (request for _, request in catalog.requests()), strict=True))
    assert [request.mode for request in requests.values()] == [Mode.IMG2IMG, Mode.INPAINT, Mode.CONTROLNET]
    assert (requests["b"].image_url, requests["b"].mask_url) == ("k/1.png", "in/shoe.png")


def test_a_row_names_several_control_pictures_in_one_cell(tmp_path: Path) -> None:
    write(tmp_path, "edges.png", b"picture")
    catalog = read(tmp_path, "a.csv", "id,text,controls\na,a mug,edges.png; k/2.png:0.5:0:0.8\n")
    ((_, request),) = catalog.requests()

    assert [(one.image, one.weight, one.end) for one in request.controls] == [
        ("edges.png", 1, 1),
        ("k/2.png", 0.5, 0.8),
    ]
    assert [picture.reference for picture in catalog.pictures] == ["edges.png"]
    assert catalog.objects == ("k/2.png",)
    assert row_request(catalog.table.iloc[0]) == request
    assert problems(tmp_path, "b.csv", "text,controls\na mug,depth=edges.png; ../x.png\n") == [
        "line 2, controls: '../x.png' must not contain '.', '..' or empty parts: it stays in the catalog's folder",
        "line 2, controls: ControlNet of model 'tiny': 'depth' is unknown: none has a name.",
    ]


def test_a_table_that_is_older_than_a_column_is_read(tmp_path: Path) -> None:
    catalog = read(tmp_path, "a.csv", "id,text\na,a mug\n")
    ((_, request),) = catalog.requests()

    assert row_request(catalog.table.drop(columns=["controls", "upscaler"]).iloc[0]) == request


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("../secret.png", "must not contain '.', '..' or empty parts: it stays in the catalog's folder"),
        ("a/../../b.png", "must not contain '.', '..' or empty parts: it stays in the catalog's folder"),
        ("/etc/passwd", "must be relative to the catalog's folder, with '/' between folders"),
        ("C:\\a.png", "must be relative to the catalog's folder, with '/' between folders"),
        ("http://a/b.png", "is a URL; name an object key or a file in the catalog's folder"),
        ("link.png", "is a link that leads out of the catalog's folder"),
        ("a\x07b.png", "contains control characters"),
    ],
)
def test_input_pictures_stay_in_the_folder(tmp_path: Path, reference: str, rule: str) -> None:
    folder = tmp_path / "catalogs"
    folder.mkdir()
    write(tmp_path, "secret.png", b"secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert problems(folder, "a.csv", f"text,image\na mug,{reference}\n") == [f"line 2, image: {reference!r} {rule}"]
    with pytest.raises(ValueError, match=r".+"):
        FolderFiles(folder, "a").find(reference)


def test_a_reference_that_no_store_can_hold_is_refused(tmp_path: Path) -> None:
    rule = "line 2, image: 901 bytes are above the maximum of 900"
    assert problems(tmp_path, "a.csv", f"text,image\na mug,{'x' * 901}\n") == [rule]


@settings(max_examples=300 * TIMES)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(st.sampled_from(['"', ",", "\n", "id", "text", "a", "\0", "rows:", "- ", "{", "[", "&a", "*a", ": "]))
        .map("".join)
        .map(str.encode),
    ),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".xlsx", ".yaml"]),
)
def test_whatever_a_file_holds_only_a_catalog_error_comes_out(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    file = tmp_path_factory.getbasetemp() / f"any{ending}"
    file.write_bytes(content)
    try:
        rows = len(read_catalog(file, REGISTRY).table)
    except CatalogError as exc:
        rows = -len(exc.problems)
    assert rows
