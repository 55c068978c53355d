"""The sensor that observes the models' releases, and has the catalogs made again that a new one makes stale."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from dagster import (
    AssetKey,
    AssetObservation,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from configs.lifecycle_settings import ReleaseSettings
from configs.settings import Settings
from models.registry import open_registry
from ops.release_trial import Trial, release_trial
from ops.releases import CurrentReleases, stale_catalogs
from resources.audit import AuditEvent, open_audit
from resources.dagster_names import CATALOG_PARTITIONS, GENERATED_IMAGES, MODEL_PARTITIONS, MODEL_RELEASES, STAGES
from resources.object_store_resource import ObjectStoreResource
from resources.partitions import add_partitions
from resources.settings_resource import SettingsResource
from sensors.kept_memory import PacedCursor
from sensors.launching import (
    CATALOG_ASSETS,
    Launch,
    add_backfill,
    backfilled_catalogs,
    bound_pool,
    catalogs_in_open_backfills,
)
from sensors.observed import latest_observations
from sensors.owned import owned_sensor

_MODEL_RELEASES = AssetKey(MODEL_RELEASES)
RELEASE_TAG = "imagegenx/release"
"""The tag of backfills, and of their runs: the digest of all releases that they bring catalogs up to."""
_TICK_S = 60.0
"""A tick's backfills are made so long before its observations are stored, at most."""
RESCAN_S = 900
"""Catalogs are looked through again after so long even if no release has changed: a run that began before it may end
after it."""


@owned_sensor(
    "lifecycle",
    name="model_release",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=1,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Observes the release of every model (`model_releases`) and of what else decides pixels: LoRAs, the cards'"
        " defaults, the upscaling network, fonts and logos. When one changes, it adds one backfill of exactly the"
        " catalogs that hold pictures made with an older one, as far as `releases.backfill` lets it. It takes what two"
        " looks in a row find, since a model may be half-copied before. Each catalog is backfilled once for each set of"
        " releases: a backfill that failed or was cancelled is run again by hand."
    ),
)
def model_release(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult:
    """One look at the files of all models."""
    current = settings.current
    cursor = PacedCursor.read(context.cursor)
    if not cursor.is_due(current.releases.interval_s):
        return SensorResult(skip_reason=SkipReason("The next look is not due yet."))
    releases = CurrentReleases(current, open_registry(current))
    digests = releases.digests()
    before = _Memory.read(cursor.memory) or _recorded(context, digests)
    if digests not in (before.digests, before.seen):
        seen = PacedCursor.next(json.dumps(asdict(replace(before, seen=digests))))
        return SensorResult(skip_reason=SkipReason(_UNSETTLED), cursor=seen)
    # Without its key among the partitions, the page of `model_releases` shows no observation of a model.
    add_partitions(context.instance, MODEL_PARTITIONS, sorted(digests.keys() - before.digests.keys()))
    memory, requests = before.at(digests, current.releases), list[RunRequest]()
    if 0 <= time.time() - memory.clean_at_s < RESCAN_S:  # a clock that was set back tells nothing
        reason = "No release has changed."
    else:
        requests, reason = _roll_out(context, releases, memory, current, object_store)
        memory = replace(memory, clean_at_s=time.time() if reason == _UP_TO_DATE else 0.0)
    return SensorResult(
        run_requests=requests,
        skip_reason=None if requests else SkipReason(reason),
        asset_events=list(_observations(before.digests, digests)),
        cursor=PacedCursor.next(json.dumps(asdict(memory))),
    )


@dataclass(frozen=True)
class _Memory:
    """What the last look found.

    Attributes:
        digests: the releases, by the name of what they are of.
        seen: others that the last look found for the first time; files may still be on their way.
        since_s: when they became the current ones. A backfill before that was of an earlier time, even if for the same.
        roll_out: the settings that it looked with.
        clean_at_s: when no stale catalog was found; 0 while there are some.
    """

    digests: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    since_s: float = 0.0
    roll_out: str = ""
    clean_at_s: float = 0.0

    @classmethod
    def read(cls, memory: str) -> "_Memory | None":
        """What the last look kept; None if that is nothing, or of another version."""
        try:
            return cls(**json.loads(memory or "null"))
        except (ValueError, TypeError):
            return None

    @property
    def release(self) -> str:
        """One short digest of all releases."""
        return hashlib.sha256(json.dumps(self.digests, sort_keys=True).encode()).hexdigest()[:12]

    def at(self, digests: dict[str, str], settings: ReleaseSettings) -> "_Memory":
        """The memory of a look that finds these."""
        roll_out = settings.model_dump_json()
        if digests == self.digests and roll_out == self.roll_out:
            return replace(self, seen={})
        since_s = self.since_s if digests == self.digests else time.time()
        return _Memory(digests, {}, since_s, roll_out)


def _recorded(context: SensorEvaluationContext, digests: Mapping[str, str]) -> _Memory:
    """The memory of the last look, from what was observed: one that is lost rolls no release out a second time."""
    observed = latest_observations(context.instance, _MODEL_RELEASES)
    known = {model: observed[model].version for model in digests if model in observed}
    since_s = max((observed[model].at_s for model in known), default=_TICK_S) - _TICK_S
    return _Memory(known, {}, since_s)


def _observations(seen: dict[str, str], digests: dict[str, str]) -> Iterator[AssetObservation]:
    """An observation of each model whose release is another one than at the last look."""
    for model, digest in digests.items():
        if seen.get(model) != digest:
            metadata = {"release": digest, "before": seen.get(model, "")}
            tags = {"dagster/data_version": digest}
            yield AssetObservation(_MODEL_RELEASES, partition=model, metadata=metadata, tags=tags)


def _roll_out(
    context: SensorEvaluationContext,
    releases: CurrentReleases,
    memory: _Memory,
    settings: Settings,
    object_store: ObjectStoreResource,
) -> tuple[list[RunRequest], str]:
    """Add the backfill of the stale catalogs whose turn it is; returns runs to launch, and what was done."""
    catalogs = context.instance.get_dynamic_partitions(CATALOG_PARTITIONS)
    stale = dict(stale_catalogs(object_store.store, catalogs, releases))
    if not stale:
        return [], _UP_TO_DATE
    if settings.releases.backfill == "trial":
        known = [catalog for catalog in settings.releases.catalogs if catalog in catalogs]
        share, least = settings.releases.share, settings.releases.trial_approved
        trials = [release_trial(object_store.store, catalog, releases, share) for catalog in known]
        if not trials or not all(trial.is_passed(least) for trial in trials):
            told = "; ".join(map(str, trials)) or "none of releases.catalogs is registered"
            return [_on_trial(trial, memory) for trial in trials if trial.stale], f"On trial: {told}."
    wanted = set(_chosen(stale, settings.releases))
    waiting = sorted(wanted - catalogs_in_open_backfills(context) - _done(context, memory))
    if not waiting:
        return [], f"{len(stale)} stale catalogs: backfilled for these releases already, or held back by `releases`."
    rows = sum(stale[catalog] for catalog in waiting)
    bound_pool(context.instance, settings)
    launch = Launch(
        waiting,
        key=f"release:{memory.release}:{memory.since_s}:{','.join(waiting)}",
        title=f"Release {memory.release}: {len(waiting)} catalogs, {rows} stale rows",
        description="Launched by the sensor model_release. Rows whose picture is up to date are not made again.",
        tags={RELEASE_TAG: memory.release, "imagegenx/reason": "model release"},
    )
    backfill = add_backfill(context, launch)
    facts = {"release": memory.release, "backfill": backfill, "catalogs": len(waiting), "rows": rows}
    open_audit(settings).record(AuditEvent.RELEASE_ROLLED_OUT, "sensor model_release", **facts)
    return [], f"Backfill {backfill} of {len(waiting)} catalogs, {rows} stale rows."


def _on_trial(trial: Trial, memory: _Memory) -> RunRequest:
    """The run of the rows that a release is tried on; asked for once for each set of releases and rows."""
    rows = hashlib.sha256("\n".join(trial.stale).encode()).hexdigest()[:12]
    return RunRequest(
        run_key=f"trial:{memory.release}:{memory.since_s}:{trial.catalog}:{rows}",
        partition_key=trial.catalog,
        asset_selection=[AssetKey(name) for name in STAGES],
        run_config={"ops": {GENERATED_IMAGES: {"config": {"rows": list(trial.stale)}}}},
        tags={"imagegenx/reason": "model release on trial", "imagegenx/trial": memory.release},
    )


_UNSETTLED = "Something has changed: it is taken if the next look finds the same, since it may be half-copied."
_UP_TO_DATE = "No catalog holds pictures of an older release."


def _chosen(stale: Iterable[str], settings: ReleaseSettings) -> list[str]:
    """The stale catalogs that the roll-out includes; a share is always the same catalogs, whatever is stale."""
    match settings.backfill:
        case "all" | "trial":
            return list(stale)
        case "listed":
            return [catalog for catalog in stale if catalog in settings.catalogs]
        case "share":
            return [catalog for catalog in stale if _place(catalog) < settings.share]
        case _:
            return []


def _place(catalog: str) -> float:
    """Where a catalog stands in every staged roll-out, 0 to 1."""
    return int.from_bytes(hashlib.sha256(catalog.encode()).digest()[:4], "big") / 2**32


def _done(context: SensorEvaluationContext, memory: _Memory) -> set[str]:
    """The catalogs that were backfilled for these releases, whatever came of it."""
    since = datetime.fromtimestamp(memory.since_s, UTC)
    return set(backfilled_catalogs(context, tags={RELEASE_TAG: memory.release}, created_after=since))
