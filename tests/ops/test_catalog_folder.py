"""The folder of registered catalogs."""

from pathlib import Path

import pytest

from configs.settings import PACKAGE_ROOT, Settings
from ops.catalog import (
    CatalogError,
    catalog_file,
    picture_file,
    read_catalog,
    register_catalog,
    registered_files,
    retire_catalog,
)
from tests.support.catalog_writer import REGISTRY, write


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_catalog_is_registered_and_found_by_name(tmp_path: Path, kept: Settings) -> None:
    catalog = register_catalog(write(tmp_path, "春季.csv", "text\na mug\n"), kept, REGISTRY)
    file = catalog_file(kept.catalog_folder, "春季")
    assert file == kept.catalog_folder / "春季.csv"
    assert read_catalog(file, REGISTRY).digest == catalog.digest


def test_a_registered_catalog_replaces_the_old_one_whatever_its_ending(tmp_path: Path, kept: Settings) -> None:
    register_catalog(write(tmp_path, "a.csv", "text\na mug\n"), kept, REGISTRY)
    register_catalog(write(tmp_path, "a.yaml", "rows: [{text: a hat}]"), kept, REGISTRY)
    assert names(kept.catalog_folder) == ["a.yaml"]
    register_catalog(write(tmp_path, "a.CSV", "text\na bag\n"), kept, REGISTRY)
    assert names(kept.catalog_folder) == ["a.csv"]
    assert catalog_file(kept.catalog_folder, "a").read_text() == "text\na bag\n"


def test_a_bad_catalog_changes_nothing(tmp_path: Path, kept: Settings) -> None:
    register_catalog(write(tmp_path, "a.csv", "text\na mug\n"), kept, REGISTRY)
    with pytest.raises(CatalogError):
        register_catalog(write(tmp_path, "a.yaml", "rows: [{text: ''}]"), kept, REGISTRY)
    assert names(kept.catalog_folder) == ["a.csv"]


def test_its_pictures_come_along_and_do_not_meet_those_of_another_catalog(tmp_path: Path, kept: Settings) -> None:
    for shop, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / shop / "in").mkdir(parents=True)
        write(tmp_path / shop / "in", "shoe.png", content)
        file = write(tmp_path / shop, f"{shop}.csv", "text,image\na mug,in/shoe.png\n")
        registered = register_catalog(file, kept, REGISTRY)
        assert read_catalog(catalog_file(kept.catalog_folder, shop), REGISTRY).digest == registered.digest
    found = [picture_file(kept.catalog_folder, shop, "in/shoe.png") for shop in "ab"]
    assert [file.read_bytes() for file in found if file] == [b"one", b"two"]
    register_catalog(write(tmp_path / "a", "a.csv", "text\na mug\n"), kept, REGISTRY)
    assert names(kept.catalog_folder) == ["a.csv", "b.csv", "b.pictures/in/shoe.png"]


def test_a_catalog_may_be_registered_again_from_where_it_is(tmp_path: Path, kept: Settings) -> None:
    write(tmp_path, "shoe.png", b"one")
    register_catalog(write(tmp_path, "a.csv", "text,image\na mug,shoe.png\n"), kept, REGISTRY)
    register_catalog(catalog_file(kept.catalog_folder, "a"), kept, REGISTRY)
    assert names(kept.catalog_folder) == ["a.csv", "a.pictures/shoe.png"]


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "secret.csv", "text\na\n")
    (tmp_path / "catalogs").mkdir()
    with pytest.raises(CatalogError, match="this cannot be a catalog's name"):
        catalog_file(tmp_path / "catalogs", "../secret")
    with pytest.raises(CatalogError, match=r"no such catalog in .*; add it with `catalog add FILE`"):
        catalog_file(tmp_path / "catalogs", "secret")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "catalogs", "a file where the folder should be")
    with pytest.raises(CatalogError, match=r"catalog 'a': 1 problem\n  cannot be written to .*catalogs"):
        register_catalog(write(tmp_path, "a.csv", "text\na\n"), Settings(home=tmp_path), REGISTRY)


def test_what_a_killed_copy_left_in_the_folder_is_no_catalog(tmp_path: Path, kept: Settings) -> None:
    register_catalog(write(tmp_path, "a.csv", "text\na mug\n"), kept, REGISTRY)
    for stray in (".copying-x1y2", "notes.txt", "no name!.csv"):
        write(kept.catalog_folder, stray, "text\n")

    assert list(registered_files(kept.catalog_folder)) == [("a", kept.catalog_folder / "a.csv")]
    assert list(registered_files(tmp_path / "nowhere")) == []


def a_catalog_with_a_picture(folder: Path, kept: Settings) -> None:
    write(folder, "shoe.png", b"one")
    register_catalog(write(folder, "a.csv", "text,image\na mug,shoe.png\n"), kept, REGISTRY)


def test_a_catalog_that_is_retired_twice_stays_in_the_folder_of_retired_ones(tmp_path: Path, kept: Settings) -> None:
    a_catalog_with_a_picture(tmp_path, kept)
    for _ in range(2):
        retire_catalog("a", kept)
        assert names(kept.catalog_folder) == ["retired/a.csv", "retired/a.pictures/shoe.png"]


def test_a_retirement_that_was_cut_short_is_finished(tmp_path: Path, kept: Settings, monkeypatch) -> None:
    a_catalog_with_a_picture(tmp_path, kept)
    moved = Path.replace

    def once_only(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", killed)
        return moved(path, target)

    def killed(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", once_only)
    with pytest.raises(KeyboardInterrupt):
        retire_catalog("a", kept)
    monkeypatch.undo()
    retire_catalog("a", kept)

    assert names(kept.catalog_folder) == ["retired/a.csv", "retired/a.pictures/shoe.png"]


def test_a_retired_catalog_replaces_an_earlier_one_of_its_name_whatever_its_ending(
    tmp_path: Path, kept: Settings
) -> None:
    a_catalog_with_a_picture(tmp_path, kept)
    retire_catalog("a", kept)
    register_catalog(write(tmp_path, "a.yaml", "rows: [{text: a hat}]"), kept, REGISTRY)
    retire_catalog("a", kept)

    assert names(kept.catalog_folder / "retired") == ["a.pictures/shoe.png", "a.yaml"]


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


def test_whatever_is_told_as_registered_is_found_and_hidden_files_are_neither(tmp_path: Path) -> None:
    for name in ("LOUD.CSV", "caf\u0065\u0301.yml", "._shop.csv", ".#shop.csv.csv", "~$shop.csv"):
        (tmp_path / name).write_text("text\na mug\n")
    (tmp_path / ".#lock.csv").symlink_to("me@host.1")
    (tmp_path / "lost.csv").symlink_to("nowhere")

    found = dict(registered_files(tmp_path))

    assert sorted(found) == ["LOUD", "café"]
    assert {name: catalog_file(tmp_path, name) for name in found} == found
