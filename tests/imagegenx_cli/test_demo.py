import pytest
from dagster import DagsterInstance, DagsterRunStatus

CSV = (
    "id,text,resolution,super_resolution,watermark_text,format\n"
    "a,a red mug,64x64,2x,,webp\n"
    "b,a blue mug,128x64,,春日小店,jpg\n"
    "c,a green mug,64x64,,,png\n"
    "d,a black mug,64x64,,,webp\n"
)


@pytest.fixture
def catalog(home):
    file = home / "catalogs/shop.csv"
    file.parent.mkdir(parents=True)
    file.write_text(CSV, encoding="utf-8")
    return file


def summary(imagegenx):
    status, output, error = imagegenx("demo", "--catalog", "shop")
    return status, output.splitlines(), error


def test_the_demo_makes_the_pictures_then_none_then_only_what_was_edited(imagegenx, home, catalog):
    page = home / "store/galleries/shop/index.html"

    status, lines, error = summary(imagegenx)
    assert (status, lines) == (0, ["summary: 4 generated, 0 reused, 0 failed", f"gallery: {page}"])
    assert page.is_file()
    assert "Traceback" not in error
    assert "DEBUG" not in error
    assert "generated images" in error

    assert summary(imagegenx)[1][0] == "summary: 0 generated, 4 reused, 0 failed"

    catalog.write_text(CSV.replace("red", "pink").replace("black", "white"), encoding="utf-8")
    assert summary(imagegenx)[1][0] == "summary: 2 generated, 2 reused, 0 failed"

    with DagsterInstance.from_config(str(home / "dagster")) as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [DagsterRunStatus.SUCCESS] * 3
        assert {run.tags["dagster/partition"] for run in runs} == {"shop"}


def test_a_failed_row_is_named_counted_and_told_by_the_exit_status(imagegenx, catalog):
    catalog.write_text(
        CSV.replace("春日小店", "").replace("watermark_text", "watermark_image")
        + "e,a lost mug,64x64,,lost.png,webp\n",
        encoding="utf-8",
    )

    status, lines, error = summary(imagegenx)

    assert status == 1
    assert lines[0] == "summary: 5 generated, 0 reused, 1 failed"
    assert "failed: e: logo 'lost.png': no such file" in error


def test_a_wrong_catalog_is_one_paragraph_with_every_problem(imagegenx, catalog):
    catalog.write_text("id,text,resolution\na,a mug,511x512\nb,,64x64\n", encoding="utf-8")

    status, lines, error = summary(imagegenx)

    assert (status, lines) == (1, [])
    assert "error: catalog 'shop': 2 problems\n" in error
    assert "Traceback" not in error


def test_a_run_in_which_every_row_fails_says_why(imagegenx, catalog):
    catalog.write_text("id,text,watermark_image\na,a mug,lost.png\n", encoding="utf-8")

    status, lines, error = summary(imagegenx)

    assert (status, lines) == (1, [])
    assert "error: all 1 rows of catalog 'shop' failed in watermarked_images:\n  logo 'lost.png': no such file" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["nowhere", "../shop", "a/b", ""])
def test_an_unknown_catalog_is_a_clear_error(imagegenx, catalog, name):
    status, output, error = imagegenx("demo", "--catalog", name)

    assert (status, output) == (1, "")
    assert error.startswith("error: catalog '")
