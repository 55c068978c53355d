"""The assets that a prompt catalog goes through, one partition per catalog, from its file to its gallery.

A run takes many catalogs, one after the other, and each through all of its stages, in one step (`catalog_stages`):

* The step reports every stage of every catalog as soon as it is done (one AssetMaterialization with its partition), and
  every check of `imagegenx_assets.checks.STAGE_CHECKS` with it (one AssetCheckEvaluation with its partition).
* A catalog that fails, or fails a blocking check, goes no further; its neighbours do. The step then ends failed, naming
  the failed ones, and only they are left to do: Dagster takes what was reported of a failed run as done.
* Models stay warm from catalog to catalog, and finished catalogs appear one by one.

Six steps of many partitions each could do none of this: Dagster reports a step's output for all of its partitions, or
for none, and one failure there would skip the later stages of all. Checks are functions (`StageCheck`) and not steps of
their own for the same reason. What a stage needs, and what a check gets, is a `CatalogWork`: one catalog, with its
settings, its store, `work.table()` and `work.images("generated_images")`.

A stage reads what earlier ones stored, so any selection of assets can be made by itself.
"""

from collections.abc import Iterator
from functools import partial

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetMaterialization,
    BackfillPolicy,
    ResourceParam,
    multi_asset,
)

from foundation.logs import set_up_logs
from imagegenx_assets.catalog_run import RunScope, run_catalogs
from imagegenx_assets.catalog_work import CatalogWork, Metadata, stage
from imagegenx_assets.checks import STAGE_CHECKS
from imagegenx_assets.partitions import CATALOGS
from imagegenx_assets.verdicts import standing_refusal
from io_managers.image_set_io_manager import ImageSetIOManager
from io_managers.table_io_manager import TableIOManager
from ops.catalog import open_catalogs
from ops.check_targets import latest_target
from ops.derivation import derive_images
from ops.editions import begin_edition, finish_edition, reseeded
from ops.finish import Finisher
from ops.gallery_page import publish_gallery
from ops.generation import Generator, generate_images
from ops.input_pictures import InputPictures
from ops.making.choice import generating_maker, upscaling_maker
from ops.moderation import open_moderation
from ops.releases import CurrentReleases, record_releases
from ops.stages import thumbnailing, upscaling, watermarking
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.own_gpu import with_own_gpu
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from sensors.launching import GPU_POOL

CATALOGS_PER_RUN = 40
"""In a backfill: enough that a process and its models start seldom, few enough to keep several GPUs busy."""


@stage(after=["catalog_files"], kinds={"pandas", "parquet"}, io_manager="tables", follows=False)
def prompt_catalog(work: CatalogWork) -> Metadata:
    """The catalog's prompts, one row per picture, every column checked and filled in.

    Fails with every problem of the file, by row and column, and then stores nothing.
    """
    catalog = open_catalogs(work.settings, work.store).read(work.catalog, work.gpu_engine.registry)
    edition = begin_edition(work.store, work.catalog)
    stored = work.tables.store("prompt_catalog", work.catalog, reseeded(catalog.table, edition))
    return {"digest": catalog.digest, "edition": edition, **stored}


@stage(after=["prompt_catalog"], kinds={"pytorch", "diffusers"}, io_manager="image_sets")
def generated_images(work: CatalogWork) -> Metadata:
    """A picture for every row, painted by the row's model; those that are stored already are not painted again."""
    pictures, registry = work.settings.pictures, work.gpu_engine.registry
    renew_after_s = work.settings.retention.orphan_hours * 3600 / 2
    catalogs = open_catalogs(work.settings, work.store)
    files = catalogs.files(catalogs.get(work.catalog))
    inputs = InputPictures(files, work.store, pictures.max_input_pixels, renew_after_s)
    moderation = open_moderation(work.settings.checks, work.store)
    reuse = work.reuse("generated_images")
    maker = generating_maker(
        work.settings,
        work.catalog,
        Finisher(work.store, moderation),
        engine=lambda: work.gpu_engine.engine,
        queue=lambda: work.request_queue.queue,
    )
    generator = Generator(maker, registry, work.store, pictures.original_quality, moderation, reuse)
    return work.keep("generated_images", generate_images(work.catalog, work.table(), generator, inputs))


@stage(after=["generated_images"], kinds={"pytorch"}, io_manager="image_sets")
def upscaled_images(work: CatalogWork) -> Metadata:
    """The pictures after super-resolution, 2× or 4×; rows that ask for none pass without a copy."""
    change = upscaling(work.settings)
    maker = upscaling_maker(work.settings, work.catalog, lambda: work.request_queue.queue)
    pictures = derive_images(work.images("generated_images"), change, work.reuse("upscaled_images"), maker)
    return work.keep("upscaled_images", pictures)


@stage(after=["upscaled_images"], kinds={"pillow"}, io_manager="image_sets")
def watermarked_images(work: CatalogWork) -> Metadata:
    """The finished pictures, with text or image watermarks; rows that ask for none pass without a copy."""
    change = watermarking(work.settings)
    pictures = derive_images(work.images("upscaled_images"), change, work.reuse("watermarked_images"))
    return work.keep("watermarked_images", pictures)


@stage(after=["watermarked_images"], kinds={"pillow"}, io_manager="image_sets")
def thumbnails(work: CatalogWork) -> Metadata:
    """A small WebP copy of every finished picture."""
    change = thumbnailing(work.settings)
    return work.keep("thumbnails", derive_images(work.images("watermarked_images"), change, work.reuse("thumbnails")))


@stage(after=["watermarked_images", "thumbnails"], kinds={"html"})
def gallery(work: CatalogWork) -> Metadata:
    """A page that shows, filters and opens the catalog's pictures with their recipes, and a contact sheet as PNG."""
    finished, small = work.images("watermarked_images"), work.images("thumbnails")
    published = publish_gallery(finished, small, links_live_s=work.settings.store.url_expires_s)
    record_releases(finished, CurrentReleases(work.settings, work.gpu_engine.registry))
    finish_edition(work.store, work.catalog, keep=work.settings.retention.editions)
    return {**published.metadata()}


STAGES = (prompt_catalog, generated_images, upscaled_images, watermarked_images, thumbnails, gallery)
"""All of them, in the order in which a catalog goes through them."""


@multi_asset(
    name="catalog_stages",
    description="Takes catalogs, one after the other, through all of their stages.",
    specs=[one.spec for one in STAGES],
    check_specs=[check.spec for check in STAGE_CHECKS],
    can_subset=True,
    partitions_def=CATALOGS,
    backfill_policy=BackfillPolicy.multi_run(CATALOGS_PER_RUN),
    pool=GPU_POOL,
)
def catalog_stages(
    context: AssetExecutionContext,
    settings: SettingsResource,
    gpu_engine: GPUEngine,
    object_store: ObjectStoreResource,
    request_queue: RequestQueueResource,
    image_sets: ResourceParam[ImageSetIOManager],
    tables: ResourceParam[TableIOManager],
) -> Iterator[AssetMaterialization | AssetCheckEvaluation]:
    """Every selected stage and check of every catalog of the run."""
    current = settings.current if settings.current.engine.fleet else with_own_gpu(settings.current)
    scope = RunScope(
        STAGES,
        STAGE_CHECKS,
        context.selected_asset_keys,
        context.selected_asset_check_keys,
        refusal=partial(standing_refusal, context.instance),
        target=partial(latest_target, context.instance),
    )

    def works() -> Iterator[CatalogWork]:
        for catalog in context.partition_keys:
            set_up_logs(current.logs, run_id=context.run.run_id, partition=catalog)
            yield CatalogWork(catalog, current, gpu_engine, request_queue, object_store.store, image_sets, tables)
        if len(context.partition_keys) > 1:
            set_up_logs(current.logs, run_id=context.run.run_id)

    yield from run_catalogs(works(), scope, context.log)


ASSETS = [catalog_stages]
