from benchmarks.catalogs import PARTS, handle_catalog, write_catalog
from benchmarks.stand_in import write_stand_in_model
from io_managers.image_set import read_image_set
from resources.local_store import LocalObjectStore


def test_two_thousand_rows_are_checked_planned_and_kept_in_a_manifest(tmp_path, monkeypatch):
    for name, value in write_stand_in_model(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    write_catalog(tmp_path / "in/big.csv", 2_000)

    seconds = handle_catalog(tmp_path / "in/big.csv")

    assert list(seconds) == list(PARTS)
    images = read_image_set(LocalObjectStore(tmp_path / "home/store"), "generated_images", "big")
    assert len(images.row_ids) == 2_000
    assert len({row.key for row in images.rows()}) == 2_000
