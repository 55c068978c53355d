"""The assets that a prompt catalog goes through, one partition per catalog, from its file to its gallery.

Each is made by a step of its own, which loads what it needs with the IO managers, so a run may begin at any of them.
"""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    Config,
    MaterializeResult,
    Output,
    SpecificPartitionsPartitionMapping,
)
from pydantic import Field

from imagegenx_assets import findings
from imagegenx_assets.catalog_facts import catalog_facts, described
from imagegenx_assets.catalog_step import CatalogStep, Events, begin, catalog_asset
from io_managers.image_set import ImageSet
from io_managers.reuse import Reuse
from ops.catalog.problems import CatalogError
from ops.checks.result import check_result
from ops.chosen_rows import choose_rows, with_other_rows
from ops.derivation import derive_images
from ops.editions import (
    begin_edition,
    edited,
    finish_edition,
    request_edition,
    request_rows,
    reseeded,
    wanted_edition,
)
from ops.finish import Finisher
from ops.gallery_page import contact_sheet_key, publish_gallery
from ops.generation import Generator
from ops.input_pictures import InputPictures
from ops.making.fleet import FleetMaker
from ops.making.in_process import EngineMaker
from ops.marking import Marker, catalog_step
from ops.moderation import open_moderation
from ops.releases import CurrentReleases, record_releases
from ops.review.first_look import look_first
from ops.stages import finishing, thumbnailing, upscaling
from resources.dagster_names import CATALOG_FILES, MODEL_RELEASES
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource

if TYPE_CHECKING:
    from pandas import DataFrame as Table
else:
    Table = Any  # Dagster reads the annotations while definitions load, and pandas is slow to import

_SHOWN_PROBLEMS = 50
"""Of a catalog's; `catalog validate` lists them all. Dagster keeps what is raised, and sends it to every viewer."""

_RELEASES = AssetDep(MODEL_RELEASES, partition_mapping=SpecificPartitionsPartitionMapping([]))
"""Which models a catalog uses, its rows say, and which of them are out of date, the sensor `model_release`."""


class Derivation(Config):
    """What a run may be told about a set of pictures, in Dagster's launchpad."""

    force: bool = Field(default=False, description="Make the pictures again, even those that are stored already.")


class Generation(Derivation):
    """What a run may be told about the pictures that it generates, in Dagster's launchpad."""

    rows: list[str] = Field(default=[], description="Only the rows with these ids; the others stay as they are.")
    reseed: bool = Field(
        default=False, description="New seeds, for good: of `rows`, or of all, which makes a new edition."
    )


@catalog_asset(after=[CATALOG_FILES], kinds={"pandas", "parquet"}, io_manager="tables", follows=False)
def prompt_catalog(
    context: AssetExecutionContext,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    gpu_engine: GPUEngine,
) -> Events:
    """The catalog's prompts, one row per picture, every column checked and filled in.

    Fails with every problem of the file, by row and column, and then stores nothing.
    """
    step = begin(context, settings, object_store)
    try:
        catalog = step.catalogs.read(step.catalog, gpu_engine.registry)
    except CatalogError as exc:
        raise exc.first(_SHOWN_PROBLEMS) from None
    table = edited(catalog.table, wanted_edition(step.store, step.catalog))
    yield Output(table, metadata={"digest": catalog.digest})
    yield check_result(findings.of_table(table))


@catalog_asset(after=[_RELEASES], kinds={"pytorch", "diffusers"}, io_manager="image_sets")
def generated_images(
    context: AssetExecutionContext,
    config: Generation,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    gpu_engine: GPUEngine,
    request_queue: RequestQueueResource,
    prompt_catalog: Table,
) -> Events:
    """A picture for every row, painted by the row's model; those that are stored already are not painted again."""
    step = begin(context, settings, object_store)
    chosen = choose_rows(prompt_catalog, config.rows)
    if config.reseed and config.rows:
        request_rows(step.store, step.catalog, config.rows, step.run.run_id)
    elif config.reseed:
        request_edition(step.store, step.catalog, step.run.run_id)
    edition = begin_edition(step.store, step.catalog)
    table = reseeded(chosen, wanted_edition(step.store, step.catalog))
    generator = _generator(step, gpu_engine, request_queue, step.reuse(force=config.force))
    stream = generator.images(step.catalog, table)
    yield Output(with_other_rows(stream, prompt_catalog), metadata={"edition": edition})
    yield check_result(findings.of_generated(step, prompt_catalog))


@catalog_asset(kinds={"pytorch"}, io_manager="image_sets")
def upscaled_images(
    context: AssetExecutionContext,
    config: Derivation,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    request_queue: RequestQueueResource,
    generated_images: ImageSet,
) -> Events:
    """The pictures after super-resolution, 2× or 4×; rows that ask for none pass without a copy."""
    step = begin(context, settings, object_store)
    reuse, fleet = step.reuse(force=config.force), _fleet(step, request_queue)
    yield Output(derive_images(generated_images, upscaling(step.settings), reuse, fleet))
    yield check_result(findings.of_upscaled(step, generated_images))


@catalog_asset(kinds={"pillow"}, io_manager="image_sets")
def watermarked_images(
    context: AssetExecutionContext,
    config: Derivation,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    upscaled_images: ImageSet,
) -> Events:
    """The finished pictures, with text or image watermarks, marked as made by a machine."""
    step = begin(context, settings, object_store)
    stage = finishing(step.settings, step.catalog)
    yield Output(derive_images(upscaled_images, stage, step.reuse(force=config.force)))
    yield check_result(findings.of_watermarked(step, upscaled_images))


@catalog_asset(kinds={"pillow"}, io_manager="image_sets")
def thumbnails(
    context: AssetExecutionContext,
    config: Derivation,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    watermarked_images: ImageSet,
) -> Events:
    """A small WebP copy of every finished picture."""
    step = begin(context, settings, object_store)
    yield Output(derive_images(watermarked_images, thumbnailing(step.settings), step.reuse(force=config.force)))
    yield check_result(findings.of_thumbnails(step, watermarked_images))


@catalog_asset(kinds={"html"})
def gallery(
    context: AssetExecutionContext,
    settings: SettingsResource,
    object_store: ObjectStoreResource,
    gpu_engine: GPUEngine,
    watermarked_images: ImageSet,
    thumbnails: ImageSet,
) -> Events:
    """A page that shows, filters and opens the catalog's pictures with their recipes, and a contact sheet as PNG."""
    step = begin(context, settings, object_store)
    current = step.settings
    mark = catalog_step(current, step.catalog)
    sheet = partial(Marker(current).sheet, name=contact_sheet_key(step.catalog), step=mark, store=step.store)
    links_live_s = current.store.url_expires_s
    published = publish_gallery(watermarked_images, thumbnails, links_live_s=links_live_s, sheet_file=sheet)
    policy = step.review
    if policy.required:
        look_first(watermarked_images, policy, current.checks)
    record_releases(watermarked_images, CurrentReleases(current, gpu_engine.registry))
    finish_edition(step.store, step.catalog, keep=current.retention.editions)
    address = current.gateway.catalog_url(step.catalog)
    facts = catalog_facts(current, step.catalogs, step.catalog, time.time())
    yield MaterializeResult(metadata=facts | described(published, object_store, address, links_live_s=links_live_s))
    yield check_result(findings.of_gallery(step))


ASSETS = [prompt_catalog, generated_images, upscaled_images, watermarked_images, thumbnails, gallery]
"""All of them, in the order in which a catalog goes through them."""


def _generator(
    step: CatalogStep, gpu_engine: GPUEngine, request_queue: RequestQueueResource, reuse: Reuse
) -> Generator:
    pictures, moderation = step.settings.pictures, open_moderation(step.settings.checks, step.store)
    fleet = _fleet(step, request_queue)
    maker = fleet or EngineMaker(gpu_engine.engine, Finisher(step.store, moderation), pictures)
    files = step.catalogs.files(step.catalogs.get(step.catalog))
    inputs = InputPictures(files, step.store, pictures.max_input_pixels, step.renew_after_s)
    return Generator(maker, gpu_engine.registry, inputs, reuse, pictures.original_quality, moderation)


def _fleet(step: CatalogStep, request_queue: RequestQueueResource) -> FleetMaker | None:
    """The workers that make the catalog's pictures; None if this process does, as `engine.fleet` says."""
    return FleetMaker(request_queue.queue, step.catalog, step.settings) if step.settings.engine.fleet else None
