"""Sensors on a real instance, ticked by hand."""

import dagster as dg
import pytest

import resources.sqlite_storage  # noqa: F401 Dagster's own storage takes no path with % or ?
from tests.support.dagster_instances import local_instance
from tests.support.released_catalogs import Studio


class Ticker:
    """Evaluates sensors as the daemon does, carrying each one's cursor from tick to tick."""

    def __init__(self, instance):
        from imagegenx_assets.definitions import RESOURCES, defs

        self.instance = instance
        self.repository = defs.get_repository_def()
        self.resources = {name: RESOURCES[name] for name in ("settings", "object_store")}
        self.cursors = {}

    def tick(self, sensor):
        """One tick, at once: whatever the interval, the last look is long ago."""
        looked_at, _, memory = (self.cursors.get(sensor.name) or "").partition("\n")
        cursor = f"{float(looked_at) - 1e6}\n{memory}" if memory else self.cursors.get(sensor.name)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            repository_def=self.repository,
            sensor_name=sensor.name,
            resources={name: resource.model_copy() for name, resource in self.resources.items()},
        ) as context:
            result = sensor(context)
        self.cursors[sensor.name] = result.cursor or cursor
        return result

    def record(self, result):
        """Let Dagster have what a tick has asked for, as the daemon does; returns the tick's result."""
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in result.run_requests:
            tags = {**request.tags, "dagster/run_key": request.run_key, "dagster/partition": request.partition_key}
            self.instance.add_run(dg.DagsterRun(job_name="catalog", tags=tags))
        return result

    def backfills(self):
        """(title, catalogs) of each backfill, the oldest first."""
        graph = self.repository.asset_graph
        key = dg.AssetKey("gallery")
        found = self.instance.get_backfills()[::-1]
        targets = [one.get_asset_backfill_data(graph).get_target_partitions_subset(key) for one in found]
        return [(one.title, sorted(subset.get_partition_keys())) for one, subset in zip(found, targets, strict=True)]

    def end_backfills(self, status):
        """Let every backfill end so."""
        for backfill in self.instance.get_backfills():
            self.instance.update_backfill(backfill.with_status(status))


@pytest.fixture
def ticker(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    with local_instance(tmp_path / "dagster") as instance:
        yield Ticker(instance)


@pytest.fixture
def studio(tmp_path, monkeypatch):
    studio = Studio(tmp_path)
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", f'["{studio.folder}"]')
    monkeypatch.setenv("IMAGEGENX_UPSCALER", str(studio.settings.upscaler))
    return studio
