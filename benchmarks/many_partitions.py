"""What Dagster's pages and the sensors' ticks cost when many catalogs are registered, and all of them made.

Catalog files are taken from the watched folder by the sensor itself. Making thousands of catalogs would take hours, so
what their runs would have reported (materializations, passed checks) is written to Dagster's database at once, and what
they would have stored is the galleries' pages and the summaries of releases, by which catalogs become stale. Figures
are processor seconds, of the web server and its code server for pages: machines are shared.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.child import measured
from benchmarks.dagster_page import answers, ask, free_port
from configs.settings import Settings, load_settings
from imagegenx_cli.dev import code_server_command, web_server_command, write_workspace
from imagegenx_cli.embedded_dagster import dagster_instance
from models.planning import plan_recipe
from models.registry import open_registry
from ops.catalog import open_catalogs
from ops.gallery_page import gallery_key
from ops.releases import UsedRelease, releases_key
from resources.dagster_names import CATALOG_PARTITIONS, QUALITY, STAGES
from resources.open_store import open_store

if TYPE_CHECKING:
    from dagster import DagsterInstance, SensorDefinition, SensorResult

CATALOGS = 5000
START_S = 90.0
_CHECKS = """assetChecksOrError { ... on AssetChecks { checks { name description
    executionForLatestMaterialization { status timestamp evaluation { partition severity } }
    partitionStatuses { ... on AssetCheckDefaultPartitionStatuses {
        succeededPartitions failedPartitions inProgressPartitions skippedPartitions executionFailedPartitions }
} } } }"""
_LIVE = f"""assetMaterializations(limit: 1) {{ timestamp partition }} {_CHECKS}
    partitionStats {{ numMaterialized numMaterializing numPartitions numFailed }}"""
_ASSET = 'assetNodeOrError(assetKey: {path: ["generated_images"]}) { ... on AssetNode '
QUERIES: Mapping[str, str] = {
    "asset": f"{{ {_ASSET} {{ description owners {{ __typename }} kinds groupName staleStatus {_LIVE} }} }} }}",
    "asset, checks": f"{{ {_ASSET} {{ {_CHECKS} }} }} }}",
    "asset, partitions": f"""{{ {_ASSET} {{ partitionKeysByDimension {{ name partitionKeys }}
        assetPartitionStatuses {{ ... on DefaultPartitionStatuses {{
            materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions }} }} }} }} }}""",
    "asset, one partition": f"""{{ {_ASSET} {{ staleStatusByPartition(partitions: ["c00099"])
        assetMaterializations(partitions: ["c00099"], limit: 1) {{ metadataEntries {{ label }} }} }} }} }}""",
    "asset, events": f"{{ {_ASSET} {{ assetMaterializations(limit: 100) {{ partition timestamp }} }} }} }}",
    "lineage": f"{{ assetNodes {{ assetKey {{ path }} groupName kinds dependencyKeys {{ path }} {_LIVE} }} }}",
    "automation": '{ sensorsOrError(repositorySelector: {repositoryName: "__repository__",'
    ' repositoryLocationName: "imagegenx"}) { ... on Sensors { results { name'
    " sensorState { status ticks(limit: 1) { status } } } } } }",
}
"""What of the pages' questions grows with the number of partitions."""
TICKS = (
    "catalog_source",
    "catalog_schedule",
    "catalog_freshness",
    "catalog_automation",
    "model_release",
    "run_failure_alert",
    "queue_sensor",
)
LIMITS = {**{f"tick of {name} s": 2.0 for name in TICKS}, **{f"page: {name} s": 2.0 for name in QUERIES}}


def run() -> dict[str, float]:
    """Processor seconds of a tick of each sensor, and of what the pages ask the web server for."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "IMAGEGENX_HOME": folder,
            "DAGSTER_HOME": "",
            "IMAGEGENX_CHECKS__FRESHNESS_HOURS": "24",
            "IMAGEGENX_ALERTS__WEBHOOK_URL": "https://alerts.invalid/",
            "IMAGEGENX_ALERTS__SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "IMAGEGENX_SERVING__SENSOR_WAIT_S": "0",
        }
        figures: dict[str, float] = measured(ticks_and_pages, environment=environment)
    return figures


def fill(settings: Settings, instance: "DagsterInstance", names: Sequence[str]) -> None:
    """Report and store what runs of these catalogs would."""
    from dagster import AssetCheckEvaluation, AssetKey, AssetMaterialization

    store, summary = open_store(settings.store), _release_summary(settings, names[0])
    for name in names:
        store.put(gallery_key(name), b"page", content_type="text/html")
        store.put(releases_key(name), summary, content_type="application/json")
    with _in_one_transaction(instance):
        for name in names:
            for key in map(AssetKey, STAGES):
                made = AssetMaterialization(key, partition=name, metadata={"rows": 1, "bytes": 9999})
                instance.report_runless_asset_event(made)
                passed = AssetCheckEvaluation(
                    asset_key=key,
                    check_name=QUALITY,
                    passed=True,
                    metadata={"checked": 1},
                )
                instance.report_runless_asset_event(passed)


def _release_summary(settings: Settings, name: str) -> bytes:
    """Of a catalog whose one picture is up to date."""
    registry = open_registry(settings)
    ((_, request),) = open_catalogs(settings, open_store(settings.store)).read(name, registry).requests()
    recipe = plan_recipe(request, registry=registry, engine_kind="any", seed=1)
    return json.dumps([asdict(UsedRelease(recipe.to_json(), 1, 1.0))]).encode()


@contextmanager
def _in_one_transaction(instance: "DagsterInstance") -> Iterator[None]:
    """Events of this block cost one commit together; Dagster's SQLite storage makes one, or three, for each."""
    from sqlalchemy import Connection, create_engine

    storage: Any = instance.event_log_storage
    connect = storage._connect
    kept: dict[str, Connection] = {}

    @contextmanager
    def connect_once(shard: str) -> Iterator[Connection]:
        if shard not in kept:
            with connect(shard):  # which makes its tables
                pass
            kept[shard] = create_engine(storage.conn_string_for_shard(shard)).connect()
        yield kept[shard]

    storage._connect = connect_once
    try:
        yield
        for connection in kept.values():
            connection.commit()
    finally:
        storage._connect = connect
        for connection in kept.values():
            connection.close()


class _Ticks:
    """Ticks of the sensors, evaluated as the daemon has them evaluated, each with the cursor of its last one."""

    def __init__(self, instance: "DagsterInstance") -> None:
        from imagegenx_assets.definitions import RESOURCES, defs

        self._instance = instance
        self._repository = defs.get_repository_def()
        self._resources = RESOURCES
        self._cursors: dict[str, str] = {}

    def tick(self, sensor: "SensorDefinition") -> tuple[float, "SensorResult"]:
        """Processor seconds of a tick, and its result. The last look is made to be long ago."""
        from dagster import build_sensor_context

        cursor = self._cursors.get(sensor.name)
        if cursor and "\n" in cursor:
            cursor = f"0\n{cursor.partition(chr(10))[2]}"
        needed = {name: self._resources[name] for name in sensor.required_resource_keys}
        with build_sensor_context(
            instance=self._instance,
            cursor=cursor,
            repository_def=self._repository,
            sensor_name=sensor.name,
            resources=needed,
        ) as context:
            began = time.process_time()
            result: Any = sensor(context)
            took_s = time.process_time() - began
        self._cursors[sensor.name] = result.cursor or ""
        return took_s, result

    def take_in(self, sensor: "SensorDefinition", catalogs: int) -> Iterator[float]:
        """Ticks until so many catalogs are registered; their processor seconds."""
        while len(self._instance.get_dynamic_partitions(CATALOG_PARTITIONS)) < catalogs:
            took_s, _ = self.tick(sensor)
            yield took_s


def _tick_figures(settings: Settings, instance: "DagsterInstance", names: Sequence[str]) -> dict[str, float]:
    from dagster import evaluate_automation_conditions
    from dagster._core.execution.backfill import BulkActionStatus

    from imagegenx_assets.automation import catalog_automation
    from imagegenx_assets.definitions import defs
    from sensors.catalog_schedule import catalog_schedule
    from sensors.catalog_source import catalog_source
    from sensors.freshness import stale_catalogs_sensor
    from sensors.model_release import model_release
    from sensors.queue_sensor import queue_sensor
    from sensors.run_failure import run_failure_alert

    ticks = _Ticks(instance)
    taken = list(ticks.take_in(catalog_source, len(names)))
    for backfill in instance.get_backfills():
        ended = backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS)  # type: ignore[no-untyped-call]
        instance.update_backfill(ended)
    fill(settings, instance, names)
    ticks.tick(model_release)  # what it finds for the first time, it takes at the next look
    figures = {
        "taking in a new catalog s": sum(taken) / len(names),
        "first tick of model_release s": ticks.tick(model_release)[0],
    }
    ticks.tick(run_failure_alert)
    sensors = (
        *(catalog_source, catalog_schedule, stale_catalogs_sensor),
        *(model_release, run_failure_alert, queue_sensor),
    )
    figures |= {f"tick of {sensor.name} s": ticks.tick(sensor)[0] for sensor in sensors}
    evaluate = partial(
        evaluate_automation_conditions, defs=defs, instance=instance, asset_selection=catalog_automation.asset_selection
    )
    first_s, result = _timed(evaluate)
    later_s, _ = _timed(lambda: evaluate(cursor=result.cursor))
    return figures | {"first tick of catalog_automation s": first_s, "tick of catalog_automation s": later_s}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


@contextmanager
def serving_pages(folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """The address of a web server, and what tells the processor seconds that it and the code server have taken."""
    from psutil import Process

    port = free_port()
    code_socket, workspace = write_workspace(folder)
    processes = []
    try:
        processes.append(subprocess.Popen(code_server_command(code_socket)))
        _wait_until(code_socket.exists)
        processes.append(subprocess.Popen(web_server_command(workspace, port)))
        address = f"http://127.0.0.1:{port}"
        _wait_until(lambda: answers(address))
        measured = [Process(process.pid) for process in processes]
        yield address, lambda: sum(sum(one.cpu_times()[:2]) for one in measured)
    finally:
        for process in processes:
            # Where interrupts are ignored, as in a shell's background, Dagster's servers ignore a polite end, too.
            process.kill()
            process.wait()


def _wait_until(happened: Callable[[], bool]) -> None:
    limit = time.monotonic() + START_S
    while not happened():
        if time.monotonic() > limit:
            raise TimeoutError(f"Dagster's servers have not started in {START_S:g} s")
        time.sleep(0.1)


def _page_figures(folder: Path) -> dict[str, float]:
    figures = {}
    with serving_pages(folder) as (address, processor_s):
        for name, query in QUERIES.items():
            ask(address, query)  # it keeps what it has found out of partitions for later answers
            before_s = processor_s()
            ask(address, query)
            figures[f"page: {name} s"] = processor_s() - before_s
    return figures


def write_catalogs(settings: Settings, names: Sequence[str]) -> None:
    """Put catalogs of one row into the watched folder."""
    folder = settings.catalog_source.folder
    assert folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.csv").write_text(f"id,text\nr,a red mug of {name}\n", encoding="utf-8")


def ticks_and_pages() -> dict[str, float]:
    """All figures, with the settings of the environment."""
    settings, names = load_settings(), [f"c{number:05}" for number in range(CATALOGS)]
    write_catalogs(settings, names)
    with dagster_instance(settings.home) as instance:
        return _tick_figures(settings, instance, names) | _page_figures(settings.home)
