"""The step that makes one asset of one catalog: how it is declared, what it has to work with, how it ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial, wraps
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    AutomationCondition,
    DagsterInstance,
    DagsterRun,
    MaterializeResult,
    Output,
    asset,
)

from configs.settings import Settings
from foundation.errors import ImageGenXError
from foundation.logs import set_up_logs
from imagegenx_assets.check_history import record_check, standing_refusal
from imagegenx_assets.checks import quality_spec
from imagegenx_assets.partitions import CATALOGS
from io_managers.image_set import ImageSet, last_image_set, read_image_set
from io_managers.outages import outages_retried
from io_managers.reuse import Reuse
from ops.catalog.home_folder import open_catalogs
from ops.catalog.problems import CatalogError
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.rows import NO_REVIEW, ReviewPolicy
from ops.checks.result import blocks
from resources.dagster_names import (
    CATALOG_PARTITIONS,
    CATALOG_POOL,
    MODEL_RELEASES,
    OWNERS,
    QUALITY,
    RETRY_NUMBER_TAG,
    STAGES,
)
from resources.object_store import ObjectStore
from resources.object_store_resource import ObjectStoreResource
from resources.own_gpu import with_own_gpu
from resources.settings_resource import SettingsResource

Events = Iterator[Output[Any] | MaterializeResult[Any] | AssetCheckResult]

FOLLOWS = (
    AutomationCondition.eager()
    .replace("newly_missing", AutomationCondition.any_deps_updated())
    .ignore(AssetSelection.assets(MODEL_RELEASES))
)
"""An asset follows the ones it is made from when one of them is made in a run that leaves it out.

Runs of the whole job make all of a catalog's assets together, and set off nothing. Nor does such a run that was
cancelled or failed half-way: what it left out is missing, but nobody asks for it again unasked. What a check has
refused is followed by a run that fails at once with what the check said; see `imagegenx_assets.check_history`. New
releases of models are for the sensor `model_release`.
"""


class CheckFailedError(ImageGenXError):
    """A check found that a catalog must not go on."""


@dataclass(frozen=True)
class CatalogStep:
    """One asset of one catalog in a run."""

    asset: str
    catalog: str
    run: DagsterRun
    instance: DagsterInstance
    settings: Settings
    store: ObjectStore

    @property
    def catalogs(self) -> RegisteredCatalogs:
        """The registered catalogs."""
        return open_catalogs(self.settings, self.store)

    @property
    def review(self) -> ReviewPolicy:
        """How the catalog is reviewed; not at all if it has been retired since the run began."""
        try:
            return self.catalogs.get(self.catalog).review
        except CatalogError:
            return NO_REVIEW

    @property
    def renew_after_s(self) -> float:
        """Age at which an object that is used again is written anew, so that it stays; see `Reuse`."""
        return self.settings.retention.orphan_hours * 3600 / 2

    def reuse(self, *, force: bool) -> Reuse:
        """How pictures of the asset that are stored already are found; `force`: none that is older than the run."""
        last = cache(partial(last_image_set, self.store, self.asset, self.catalog))
        after_s = began_s(self.instance, self.run) if force else 0.0
        return Reuse(self.store, last, renew_after_s=self.renew_after_s, made_after_s=after_s)

    def images(self) -> ImageSet:
        """The pictures of the asset as they are stored."""
        return read_image_set(self.store, self.asset, self.catalog)


def began_s(instance: DagsterInstance, run: DagsterRun) -> float:
    """When a run began, as Unix time; for one that Dagster started again, when the first of its tries did."""
    while RETRY_NUMBER_TAG in run.tags and (before := instance.get_run_by_id(run.parent_run_id or "")):
        run = before
    record = instance.get_run_record_by_id(run.run_id)
    return record.start_time or record.create_timestamp.timestamp() if record else 0.0


def begin(context: AssetExecutionContext, settings: SettingsResource, object_store: ObjectStoreResource) -> CatalogStep:
    """What a step has to work with; every log line of its process is about its catalog from now on.

    Raises:
        CheckFailedError: if what the asset is made of may not go on, by its last check.
    """
    current, asset_key = settings.current, context.asset_key
    if not current.engine.fleet:
        current = with_own_gpu(current)
    set_up_logs(current.logs, run_id=context.run.run_id, partition=context.partition_key)
    before = [key for key in context.assets_def.asset_deps[asset_key] if key.path[-1] in STAGES]
    if refusal := standing_refusal(context.instance, context.partition_key, before):
        raise CheckFailedError(refusal)
    return CatalogStep(
        asset_key.path[-1], context.partition_key, context.run, context.instance, current, object_store.store
    )


def catalog_asset(
    *, kinds: set[str], io_manager: str | None = None, after: Sequence[str | AssetDep] = (), follows: bool = True
) -> Callable[[Callable[..., Events]], AssetsDefinition]:
    """Make a function the asset of a catalog that is named like it and described by its docstring.

    The function yields its output first, which its IO manager stores, and then the result of its check; a check that
    blocks fails the step, and nothing downstream runs. A run makes one catalog: for Dagster's backfills that is so
    where an asset has no policy (with one, even of a single partition, checks are not told which it is).

    Args:
        io_manager: the resource that stores it, and loads it for the assets that name it as an argument.
        after: what it also depends on, and does not load.
        follows: it is made by itself when one of those before it is; see `FOLLOWS`.
    """

    def declare(make: Callable[..., Events]) -> AssetsDefinition:
        @wraps(make)
        def step(context: AssetExecutionContext, **given: Any) -> Events:
            with outages_retried(context):
                for event in make(context, **given):
                    yield event
                    if not isinstance(event, AssetCheckResult):
                        continue
                    record_check(context, event)
                    if blocks(event):
                        raise CheckFailedError(f"check '{QUALITY}' of {make.__name__}: {event.description}")

        return asset(
            deps=after,
            group_name=CATALOG_PARTITIONS,
            owners=OWNERS,
            kinds=kinds,
            io_manager_key=io_manager,
            partitions_def=CATALOGS,
            check_specs=[quality_spec(make.__name__)],
            automation_condition=FOLLOWS if follows else None,
            pool=CATALOG_POOL,
        )(step)

    return declare
