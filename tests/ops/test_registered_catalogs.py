"""Registered catalogs, in the store, and those of a home folder of an earlier version."""

import json
import shutil
from pathlib import Path

import pytest

from configs.settings import PACKAGE_ROOT, Settings
from ops.catalog.home_folder import catalog_files, open_catalogs
from ops.catalog.problems import CatalogError, CatalogHeldUpError
from ops.catalog.reading import read_catalog
from ops.catalog.registered import RegisteredCatalogs
from resources.local_store import LocalObjectStore
from tests.support.catalog_writer import REGISTRY, registered_text, write
from tests.support.stored_catalogs import make_old


@pytest.fixture
def catalogs(tmp_path: Path) -> RegisteredCatalogs:
    return RegisteredCatalogs(LocalObjectStore(tmp_path / "store"), renew_after_s=3600)


def pictures(catalogs: RegisteredCatalogs, name: str) -> dict[str, bytes]:
    registration = catalogs.get(name)
    files = catalogs.files(registration)
    found = {reference: files.find(reference) for reference in registration.files}
    return {reference: picture.read() for reference, picture in found.items() if picture}


def test_a_catalog_is_registered_and_read_by_name(tmp_path: Path, catalogs: RegisteredCatalogs) -> None:
    catalog = catalogs.register(write(tmp_path, "春季.csv", "text\na mug\n"), REGISTRY)

    assert catalogs.names() == ["春季"]
    assert catalogs.read("春季", REGISTRY).digest == catalog.digest == catalogs.get("春季").digest


def test_a_registered_catalog_replaces_the_old_one_whatever_its_ending(
    tmp_path: Path, catalogs: RegisteredCatalogs
) -> None:
    catalogs.register(write(tmp_path, "a.csv", "text\na mug\n"), REGISTRY)
    catalogs.register(write(tmp_path, "a.yaml", "rows: [{text: a hat}]"), REGISTRY)
    assert catalogs.get("a").file == "a.yaml"
    catalogs.register(write(tmp_path, "a.CSV", "text\na bag\n"), REGISTRY)
    assert (catalogs.get("a").file, registered_text(catalogs, "a")) == ("a.csv", "text\na bag\n")
    assert [one.file for one in catalogs.all()] == ["a.csv"]


def test_a_bad_catalog_changes_nothing(tmp_path: Path, catalogs: RegisteredCatalogs) -> None:
    catalogs.register(write(tmp_path, "a.csv", "text\na mug\n"), REGISTRY)
    with pytest.raises(CatalogError):
        catalogs.register(write(tmp_path, "a.yaml", "rows: [{text: ''}]"), REGISTRY)
    assert registered_text(catalogs, "a") == "text\na mug\n"


def test_its_pictures_come_along_and_do_not_meet_those_of_another_catalog(
    tmp_path: Path, catalogs: RegisteredCatalogs
) -> None:
    for shop, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / shop / "in").mkdir(parents=True)
        write(tmp_path / shop / "in", "shoe.png", content)
        file = write(tmp_path / shop, f"{shop}.csv", "text,image\na mug,in/shoe.png\n")
        registered = catalogs.register(file, REGISTRY)
        shutil.rmtree(tmp_path / shop)
        assert catalogs.read(shop, REGISTRY).digest == registered.digest

    assert [pictures(catalogs, shop) for shop in "ab"] == [{"in/shoe.png": b"one"}, {"in/shoe.png": b"two"}]
    catalogs.register(write(tmp_path, "a.csv", "text\na mug\n"), REGISTRY)
    assert pictures(catalogs, "a") == {}


def test_a_table_that_rows_come_from_comes_along(tmp_path: Path, catalogs: RegisteredCatalogs) -> None:
    write(tmp_path, "products.csv", "SKU,Title\n1,a mug\n")
    text = "rows_from: products.csv\ntemplate: '{Title} on white'\ncolumns: {id: SKU}\n"
    catalogs.register(write(tmp_path, "spring.yaml", text), REGISTRY)
    (tmp_path / "products.csv").unlink()

    assert list(catalogs.read("spring", REGISTRY).table["text"]) == ["a mug on white"]


def test_a_picture_that_is_nowhere_is_a_problem_and_one_that_the_store_has_is_none(
    tmp_path: Path, catalogs: RegisteredCatalogs
) -> None:
    file = write(tmp_path, "a.csv", "text,image\na mug,in/shoe.png\na hat,../x.png\n")
    with pytest.raises(CatalogHeldUpError) as caught:
        catalogs.register(file, REGISTRY)
    assert sorted(str(problem) for problem in caught.value.problems) == [
        "line 2, image: 'in/shoe.png' is neither a file beside the catalog nor an object in the store; put it there",
        "line 3, image: '../x.png' must not contain '.', '..' or empty parts: it stays in the catalog's folder",
    ]
    catalogs.store.put("in/shoe.png", b"one", content_type="image/png")
    catalogs.register(write(tmp_path, "a.csv", "text,image\na mug,in/shoe.png\n"), REGISTRY)

    assert catalogs.get("a").objects == ("in/shoe.png",)


@pytest.mark.parametrize(
    ("name", "rule"), [("../a", "this cannot be a catalog's name"), ("a", "no such catalog is registered; add it with")]
)
def test_a_catalog_that_is_not_registered_says_so(name: str, rule: str, catalogs: RegisteredCatalogs) -> None:
    with pytest.raises(CatalogError, match=rule):
        catalogs.get(name)


def test_content_that_is_stored_already_is_written_anew_only_when_it_is_old(
    tmp_path: Path, catalogs: RegisteredCatalogs
) -> None:
    file = write(tmp_path, "a.csv", "text\na mug\n")
    store = catalogs.store
    catalogs.register(file, REGISTRY)
    ((young,), _) = [list(store.list("inputs/")), catalogs.register(file, REGISTRY)]
    assert list(store.list("inputs/")) == [young]
    make_old(store, [young.key])
    catalogs.register(file, REGISTRY)

    (renewed,) = store.list("inputs/")
    assert renewed.written_s >= young.written_s


def test_a_retired_catalog_stays_known_and_comes_back(tmp_path: Path, catalogs: RegisteredCatalogs) -> None:
    file = write(tmp_path, "a.csv", "text\na mug\n")
    catalogs.register(file, REGISTRY)
    for _ in range(2):
        catalogs.retire("a")
        assert (catalogs.names(), catalogs.retired_names()) == ([], ["a"])
    catalogs.register(file, REGISTRY)

    assert (catalogs.names(), catalogs.retired_names()) == (["a"], [])


def test_a_retirement_that_was_cut_short_is_finished(tmp_path: Path, catalogs: RegisteredCatalogs, monkeypatch) -> None:
    def killed(key: str) -> None:
        raise KeyboardInterrupt

    catalogs.register(write(tmp_path, "a.csv", "text\na mug\n"), REGISTRY)
    monkeypatch.setattr(catalogs.store, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        catalogs.retire("a")
    monkeypatch.undo()
    catalogs.retire("a")

    assert (catalogs.names(), catalogs.retired_names()) == ([], ["a"])


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home of an earlier version: a catalog with a picture, a shipped one as it came, and a retired one."""
    settings = Settings(home=tmp_path / "home")
    folder = settings.catalog_folder
    (folder / "a.pictures/in").mkdir(parents=True)
    (folder / "retired").mkdir()
    write(folder / "a.pictures/in", "shoe.png", b"one")
    write(folder, "a.yaml", "schedule: 0 6 * * *\nfreshness_hours: 3\nrows: [{text: a mug, image: in/shoe.png}]")
    demo = write(folder, "demo.csv", "text,image\na hat,uploads/20240101/hat.png\n")
    write(folder / "retired", "old.csv", "text\na bag\n")
    digest = read_catalog(write(tmp_path, "demo.csv", "text\na hat\n"), REGISTRY).digest
    (settings.home / "cache").mkdir()
    write(settings.home / "cache", "shipped_catalogs.json", json.dumps({"demo": digest, "x": str(demo)}))
    return settings


def opened(settings: Settings) -> RegisteredCatalogs:
    return open_catalogs(settings, LocalObjectStore(settings.store.path))


def test_what_an_earlier_version_registered_is_taken_over_whole(home: Settings) -> None:
    catalogs = opened(home)

    assert (catalogs.names(), catalogs.retired_names()) == (["a", "demo"], ["old"])
    a = catalogs.get("a")
    assert (pictures(catalogs, "a"), a.freshness_hours, a.schedule.cron) == ({"in/shoe.png": b"one"}, 3, "0 6 * * *")
    assert catalogs.get("demo").objects == ("uploads/20240101/hat.png",)
    shutil.rmtree(home.catalog_folder)
    assert len(opened(home).read("a", REGISTRY).table) == 1


def test_an_edit_in_the_folder_counts_and_an_old_copy_does_not(home: Settings, tmp_path: Path) -> None:
    opened(home).register(write(tmp_path, "a.csv", "text\nnewer\n"), REGISTRY)
    assert registered_text(opened(home), "a") == "text\nnewer\n"
    write(home.catalog_folder, "a.yaml", "rows: [{text: edited by hand}]")
    assert "edited by hand" in registered_text(opened(home), "a")
    opened(home).retire("a")
    another = Settings(home=tmp_path / "another", store={"path": home.store.path})
    shutil.copytree(home.catalog_folder, another.catalog_folder)

    assert opened(another).names() == ["demo"]


SHIPPED = PACKAGE_ROOT / "configs" / "catalogs"


def test_the_shipped_catalogs_show_what_the_product_does() -> None:
    tables = [read_catalog(file, REGISTRY).table for file in sorted(SHIPPED.iterdir())]
    assert sorted(file.name for file in SHIPPED.iterdir()) == ["chun_zhuang.yaml", "demo.csv"]
    demo = tables[1]
    assert len(demo) >= 24
    assert set(demo["resolution"]) == {"128×128", "128×192", "192×128", "192×192"}
    assert set(demo["super_resolution"]) == {"", "2x", "4x"}
    assert set(demo["format"]) == {"webp", "png", "jpg"}
    assert set(demo["lora_name"]) == {"", "sketch", "pastel"}
    assert (demo["negative_text"] != "").sum() == 1
    assert {"© Spring Shop", "春日小店"} <= set(demo["watermark_text"])
    logos = set(demo["watermark_image"]) - {""}
    assert logos
    assert all((PACKAGE_ROOT / "configs" / "logos" / logo).is_file() for logo in logos)
    assert demo["text"].str.contains(r"[\u4e00-\u9fff]").sum() >= 10
    assert set(demo["model_type"]) == {"tiny"}


def test_files_that_are_named_like_catalogs_are_found_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in (
        "LOUD.CSV",
        "caf\u0065\u0301.yml",
        "._shop.csv",
        ".#shop.csv.csv",
        "~$shop.csv",
        "notes.txt",
        "no!.csv",
    ):
        (tmp_path / name).write_text("text\na mug\n")
    (tmp_path / ".#lock.csv").symlink_to("me@host.1")
    (tmp_path / "lost.csv").symlink_to("nowhere")

    assert sorted(dict(catalog_files(tmp_path))) == ["LOUD", "café"]
    assert list(catalog_files(tmp_path / "nowhere")) == []
