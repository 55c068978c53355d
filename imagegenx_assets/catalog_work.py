"""One catalog on its way through the stages: what a stage, and a check of it, has to work with."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckResult, AssetCheckSpec, AssetSpec, AutomationCondition

from configs.settings import Settings
from imagegenx_assets.partitions import CATALOGS
from io_managers.image_set import ImageSet, ImageStream, last_image_set
from io_managers.image_set_io_manager import ImageSetIOManager
from io_managers.reuse import Reuse
from io_managers.table_io_manager import TableIOManager
from resources.gpu_engine import GPUEngine
from resources.object_store import ObjectStore
from resources.request_queue_resource import RequestQueueResource
from sensors.launching import PARTITIONS

if TYPE_CHECKING:
    from pandas import DataFrame

GROUP = PARTITIONS
OWNERS = ["team:imagegenx"]

Metadata = dict[str, Any]


@dataclass(frozen=True)
class CatalogWork:
    """One catalog in one run. Results of earlier stages are read from the store, so a run may begin at any stage."""

    catalog: str
    settings: Settings
    gpu_engine: GPUEngine
    request_queue: RequestQueueResource
    store: ObjectStore
    image_sets: ImageSetIOManager
    tables: TableIOManager
    _read: dict[str, Any] = field(default_factory=dict, repr=False)

    def table(self) -> "DataFrame":
        """The rows of `prompt_catalog`. Raises ObjectNotFoundError before its first run."""
        if "" not in self._read:
            self._read[""] = self.tables.load("prompt_catalog", self.catalog)
        table: DataFrame = self._read[""]
        return table

    def images(self, asset: str) -> ImageSet:
        """The pictures of an asset. Raises ObjectNotFoundError before its first run."""
        if asset not in self._read:
            self._read[asset] = self.image_sets.load(asset, self.catalog)
        images: ImageSet = self._read[asset]
        return images

    def last(self, asset: str) -> ImageSet | None:
        """As `images`; None before the asset's first run."""
        if asset not in self._read and (found := last_image_set(self.store, asset, self.catalog)):
            self._read[asset] = found
        return self._read.get(asset)

    def forget(self) -> None:
        """Let go of what was read: each stage, with its checks, reads what it needs once."""
        self._read.clear()

    def reuse(self, asset: str) -> Reuse:
        """How a stage finds pictures of its asset that are stored already."""
        renew_after_s = self.settings.retention.orphan_hours * 3600 / 2
        return Reuse(self.store, asset, self.catalog, renew_after_s=renew_after_s, last=partial(self.last, asset))

    def keep(self, asset: str, stream: ImageStream) -> Metadata:
        """Pull a stream into the store as the pictures of an asset; returns the materialization's metadata."""
        metadata = self.image_sets.store(asset, stream, partial(self.last, asset))
        self._read.pop(asset, None)
        return metadata


@dataclass(frozen=True)
class Stage:
    """A stage of a catalog: the asset it makes, and the function that makes it and returns its metadata."""

    spec: AssetSpec
    make: Callable[[CatalogWork], Metadata]

    @property
    def name(self) -> str:
        """The name of the asset."""
        return self.spec.key.path[-1]


@dataclass(frozen=True)
class StageCheck:
    """A check of one asset, evaluated for every catalog right after its stage.

    If `spec.blocking`, a result that failed with severity ERROR ends this catalog's way, and no other's.
    """

    spec: AssetCheckSpec
    evaluate: Callable[[CatalogWork], AssetCheckResult]


def stage(
    *, after: Sequence[str], kinds: set[str], io_manager: str = "", follows: bool = True
) -> Callable[[Callable[[CatalogWork], Metadata]], Stage]:
    """Make a function the stage of the asset that is named like it and described by its docstring.

    Args:
        after: names of the assets it reads.
        io_manager: the resource with which other assets load this one.
        follows: it is made by itself when one of those is; see `FOLLOWS`.
    """

    def declare(make: Callable[[CatalogWork], Metadata]) -> Stage:
        spec = AssetSpec(
            make.__name__,
            deps=list(after),
            description=inspect.getdoc(make),
            skippable=True,
            group_name=GROUP,
            owners=OWNERS,
            kinds=kinds,
            partitions_def=CATALOGS,
            automation_condition=FOLLOWS if follows else None,
        )
        return Stage(spec.with_io_manager_key(io_manager) if io_manager else spec, make)

    return declare


FOLLOWS = AutomationCondition.eager().replace("newly_missing", AutomationCondition.any_deps_updated())
"""An asset follows the ones it is made from when one of them is made in a run that leaves it out.

Runs of the whole job make all of a catalog's assets together, and set off nothing. Nor does such a run that was
cancelled or failed half-way: what it left out is missing, but nobody asks for it again unasked. What a blocking check
has refused is followed by a run that fails at once with what the check said; see `imagegenx_assets.verdicts`.
"""
