"""The assets that a prompt catalog goes through, one partition per catalog, from its file to its gallery."""

from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, MaterializeResult, Output, asset

from imagegenx_assets.partitions import CATALOGS
from io_managers.image_set import ImageSet, ImageStream
from ops.catalog import catalog_file, read_catalog
from ops.derivation import derive_images
from ops.gallery_page import publish_gallery
from ops.generation import Generator, generate_images
from ops.input_pictures import InputPictures
from ops.stages import thumbnailing, upscaling, watermarking
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource

if TYPE_CHECKING:
    from pandas import DataFrame
else:
    DataFrame = Any  # importing pandas would be a third of the time that definitions take to load

GROUP = "catalogs"
OWNERS = ["team:imagegenx"]


@asset(partitions_def=CATALOGS, group_name=GROUP, owners=OWNERS, io_manager_key="tables", kinds={"pandas", "parquet"})
def prompt_catalog(
    context: AssetExecutionContext, settings: SettingsResource, gpu_engine: GPUEngine
) -> Output[DataFrame]:
    """The catalog's prompts, one row per picture, every column checked and filled in.

    Fails with every problem of the file, by row and column, and then stores nothing.
    """
    file = catalog_file(settings.current.catalog_folder, context.partition_key)
    catalog = read_catalog(file, gpu_engine.registry)
    return Output(catalog.table, metadata={"file": str(file), "digest": catalog.digest})


@asset(
    partitions_def=CATALOGS,
    group_name=GROUP,
    owners=OWNERS,
    io_manager_key="image_sets",
    kinds={"pytorch", "diffusers"},
)
def generated_images(
    context: AssetExecutionContext,
    prompt_catalog: DataFrame,
    settings: SettingsResource,
    gpu_engine: GPUEngine,
    object_store: ObjectStoreResource,
) -> ImageStream:
    """A picture for every row, painted by the row's model; those that are stored already are not painted again."""
    store, current, catalog = object_store.store, settings.current, context.partition_key
    inputs = InputPictures(current.catalog_folder, catalog, store, current.pictures.max_input_pixels)
    generator = Generator(gpu_engine.engine, gpu_engine.registry, store, current.pictures.original_quality)
    return generate_images(catalog, prompt_catalog, generator, inputs)


@asset(partitions_def=CATALOGS, group_name=GROUP, owners=OWNERS, io_manager_key="image_sets", kinds={"pytorch"})
def upscaled_images(generated_images: ImageSet, settings: SettingsResource, gpu_engine: GPUEngine) -> ImageStream:
    """The pictures after super-resolution, 2× or 4×; rows that ask for none pass without a copy."""
    return derive_images(generated_images, upscaling(settings.current, gpu_engine.registry))


@asset(partitions_def=CATALOGS, group_name=GROUP, owners=OWNERS, io_manager_key="image_sets", kinds={"pillow"})
def watermarked_images(upscaled_images: ImageSet, settings: SettingsResource) -> ImageStream:
    """The finished pictures, with text or image watermarks; rows that ask for none pass without a copy."""
    return derive_images(upscaled_images, watermarking(settings.current))


@asset(partitions_def=CATALOGS, group_name=GROUP, owners=OWNERS, io_manager_key="image_sets", kinds={"pillow"})
def thumbnails(watermarked_images: ImageSet, settings: SettingsResource) -> ImageStream:
    """A small WebP copy of every finished picture."""
    return derive_images(watermarked_images, thumbnailing(settings.current))


@asset(partitions_def=CATALOGS, group_name=GROUP, owners=OWNERS, kinds={"html"})
def gallery(watermarked_images: ImageSet, thumbnails: ImageSet, settings: SettingsResource) -> MaterializeResult[None]:
    """A page that shows, filters and opens the catalog's pictures with their recipes, and a contact sheet as PNG."""
    links_live_s = settings.current.store.url_expires_s
    published = publish_gallery(watermarked_images, thumbnails, links_live_s=links_live_s)
    return MaterializeResult(metadata=published.metadata())


ASSETS = [prompt_catalog, generated_images, upscaled_images, watermarked_images, thumbnails, gallery]
"""All of them, in the order in which a catalog goes through them."""
