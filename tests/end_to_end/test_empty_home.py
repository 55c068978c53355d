"""Two machines that share the store alone: what is dropped on one is made on the other, whose home is empty."""

import dagster as dg
import pytest
from PIL import Image

from benchmarks.stand_in import MODEL, StandInGPUEngine, run_main_job, write_stand_in_model
from configs.settings import load_settings
from io_managers.image_set import read_image_set
from resources.object_store_resource import ObjectStoreResource
from resources.open_store import open_store
from resources.settings_resource import SettingsResource
from sensors.catalog_source import catalog_source

CATALOG = """
watermark: {image_path: brand/shop.png}
rows_from: products.csv
template: '{Title} on white'
columns: {id: SKU, image: Picture}
where: {Title: '*'}
"""
PRODUCTS = "SKU,Title,Picture\n1,a mug,in/mug.png\n2,a hat,\n"


@pytest.fixture(scope="module")
def machines(tmp_path_factory, s3_server):
    """Chooses a machine, by the name of its home."""
    folder = tmp_path_factory.mktemp("machines")
    model = write_stand_in_model(folder / "models")
    with (folder / f"models/{MODEL}.yaml").open("a", encoding="utf-8") as card:
        card.write("modes: [text2img, img2img]\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (model | s3_server.own_bucket().environment() | {"DAGSTER_HOME": ""}).items():
            patch.setenv(name, value)

        def at(machine):
            patch.setenv("IMAGEGENX_HOME", str(folder / machine))
            return load_settings()

        yield at


def drop(settings):
    """What a person puts into a home folder: a logo, a picture, a table and a catalog."""
    inbox = settings.catalog_source.folder
    for file in (settings.logo_folder / "brand/shop.png", inbox / "in/mug.png"):
        file.parent.mkdir(parents=True)
        Image.new("RGBA", (64, 64), "red").save(file)
    (inbox / "products.csv").write_text(PRODUCTS, encoding="utf-8")
    (inbox / "spring.yaml").write_text(CATALOG, encoding="utf-8")


def look_at_inbox(instance):
    from imagegenx_assets.definitions import defs

    resources = {"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())}
    repository = defs.get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, sensor_name="catalog_source", resources=resources
    ) as context:
        result = catalog_source(context)
        looked_at, _, memory = result.cursor.partition("\n")
    with dg.build_sensor_context(
        instance=instance,
        cursor=f"{float(looked_at) - 1e6}\n{memory}",
        repository_def=repository,
        sensor_name="catalog_source",
        resources={"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())},
    ) as context:
        return [request.partition_key for request in catalog_source(context).run_requests]


def test_a_dropped_catalog_is_made_by_a_machine_with_an_empty_home(machines):
    settings = machines("first")
    drop(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        assert look_at_inbox(instance) == ["spring"]

    machines("second")
    run_main_job("spring", StandInGPUEngine())

    store = open_store(load_settings().store)
    rows = list(read_image_set(store, "watermarked_images", "spring").rows())
    assert [(row.row_id, str(row.status)) for row in rows] == [("1", "made"), ("2", "made")]
    assert (load_settings().logo_folder / "brand/shop.png").read_bytes() == (
        settings.logo_folder / "brand/shop.png"
    ).read_bytes()
    assert not load_settings().catalog_folder.exists()
    # What the first machine's home held is a cache: without it, nothing is made again.
    machines("third")
    run_main_job("spring", StandInGPUEngine())
    assert {str(row.status) for row in read_image_set(store, "generated_images", "spring").rows()} == {"reused"}
