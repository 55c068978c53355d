"""Many catalogs: what a backfill of them costs beyond generation, and what Dagster's pages and the sensors' ticks cost.

Dagster is real: its daemon, code server and web server, which is asked as its pages ask it.

* `backfill` has many small ones made, and others that are cancelled half-way and executed again. The engine paints at
  once, so that what is left is the overhead: the daemon's rounds, starting processes, encoding, manifests, checks,
  galleries, events.
* `many_partitions` has thousands registered, and all of them made. The sensor itself takes their files from the watched
  folder. Making them would take hours, so what their runs would have reported (materializations, passed checks) is
  written to Dagster's database at once, and what they would have stored is the galleries' pages and the summaries of
  releases, by which catalogs become stale. Figures are processor seconds, of the web server and its code server for
  pages: machines are shared.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import answers, ask, free_port, measured
from benchmarks.stand_in import NOTES, write_stand_in_model
from configs.settings import Settings, load_settings
from imagegenx_cli.dev import (
    CODE,
    code_server_command,
    daemon_command,
    engine_threads,
    web_server_command,
    write_workspace,
)
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.processes import ProcessStack
from models.planning import plan_recipe
from models.registry import open_registry
from ops.catalog.home_folder import open_catalogs
from ops.gallery_page import gallery_key
from ops.releases import UsedRelease, releases_key
from resources.dagster_names import CATALOG_PARTITIONS, QUALITY, STAGES
from resources.open_store import open_store

if TYPE_CHECKING:
    from dagster import DagsterInstance, SensorDefinition, SensorResult

BACKFILLED, ROWS = 200, 20
_PATIENCE_S = 3_600.0
_LAUNCH = """
mutation Launch($assets: [AssetKeyInput!], $catalogs: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $catalogs}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }
"""
_CANCEL = """
mutation Cancel($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }
"""
_EXECUTE_AGAIN = """
mutation Again($id: String!) {
  reexecutePartitionBackfill(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }
"""


def backfill() -> dict[str, float]:
    """Figures of one backfill left alone, and of a second one, of other catalogs, cancelled and executed again."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"IMAGEGENX_HOME": folder, "DAGSTER_HOME": "", NOTES: f"{folder}/notes.txt"}
        environment |= write_stand_in_model(Path(folder) / "models")
        figures: dict[str, float] = measured(both_backfills, environment=environment)
    return figures


class _Backfills:
    """Backfills of all assets of catalogs, handled as Dagster's backfill page handles them."""

    def __init__(self, instance: "DagsterInstance", stack: ProcessStack, page: str) -> None:
        self._instance = instance
        self._stack = stack
        self._page = page

    def launch(self, catalogs: Sequence[str]) -> str:
        """The id of a new backfill."""
        assets = [{"path": [asset]} for asset in STAGES]
        return self._launched(ask(self._page, _LAUNCH, assets=assets, catalogs=list(catalogs)))

    def execute_again(self, backfill: str) -> str:
        """The id of a new backfill of what another one has not made."""
        return self._launched(ask(self._page, _EXECUTE_AGAIN, id=backfill))

    def cancel(self, backfill: str) -> None:
        """Ask for the end of a backfill."""
        ask(self._page, _CANCEL, id=backfill)

    def until(self, what: str, happened: Callable[[], bool]) -> None:
        """Wait for something that the processes bring about."""
        self._stack.wait_until(what, happened, _PATIENCE_S)

    def until_ended(self, backfill: str, status: str) -> None:
        """Wait until a backfill has ended with this status; RuntimeError if it ends with another."""
        ends = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
        self.until("the end of a backfill", lambda: self._status(backfill) in ends)
        if (found := self._status(backfill)) != status:
            raise RuntimeError(f"the backfill ended as {found}, not {status}")

    def seconds(self, backfill: str) -> tuple[int, float]:
        """The runs of a backfill, and seconds from its launch to the end of the last one."""
        from dagster import RunsFilter

        records = self._instance.get_run_records(RunsFilter(tags={"dagster/backfill": backfill}))
        launched = self._instance.get_backfill(backfill)
        assert launched
        return len(records), max(record.end_time or 0.0 for record in records) - launched.backfill_timestamp

    def made(self, catalogs: Sequence[str]) -> set[str]:
        """Those of the catalogs whose gallery is made."""
        from dagster import AssetKey

        return self._instance.get_materialized_partitions(AssetKey("gallery")) & set(catalogs)

    def _status(self, backfill: str) -> str:
        found = self._instance.get_backfill(backfill)
        assert found
        return found.status.value

    @staticmethod
    def _launched(answer: dict[str, dict[str, str]]) -> str:
        (launched,) = answer.values()
        if "backfillId" not in launched:
            raise RuntimeError(f"Dagster launches no backfill: {launched}")
        return launched["backfillId"]


@contextmanager
def _served(
    settings: Settings, location: str = CODE, *, with_daemon: bool = False
) -> Iterator[tuple[str, ProcessStack]]:
    """The address of Dagster's web server over the home folder, and the stack that its processes are in."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, ProcessStack(settings.home / "logs") as stack:
        code_socket, workspace = write_workspace(Path(folder))
        stack.start("code server", code_server_command(code_socket, location), engine_threads(settings))
        stack.wait_until("the code server", code_socket.exists, _PATIENCE_S)
        if with_daemon:
            stack.start("daemon", daemon_command(workspace))
        stack.start("web server", web_server_command(workspace, port))
        stack.wait_until("the web server", lambda: answers(page), _PATIENCE_S)
        yield page, stack


def _catalogs(settings: Settings, instance: "DagsterInstance", letter: str) -> list[str]:
    """Registered catalogs of a few quick pictures; their names."""
    names = [f"{letter}{number:04}" for number in range(BACKFILLED)]
    settings.catalog_folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = "".join(f"r{row},a red mug of {name},{row},4\n" for row in range(ROWS))
        (settings.catalog_folder / f"{name}.csv").write_text(f"id,text,seed,steps\n{rows}", encoding="utf-8")
    instance.add_dynamic_partitions(CATALOG_PARTITIONS, names)
    return names


def _processor_s() -> float:
    """Processor seconds of all processes that this one started, and of those that they did."""
    from psutil import Process

    return sum(sum(child.cpu_times()[:4]) for child in Process().children(recursive=True))


def _left_alone(backfills: _Backfills, names: Sequence[str]) -> dict[str, float]:
    before_s = _processor_s()
    backfill = backfills.launch(names)
    backfills.until_ended(backfill, "COMPLETED_SUCCESS")
    runs, wall_s = backfills.seconds(backfill)
    return {
        "runs": runs,
        "processor time per catalog s": (_processor_s() - before_s) / BACKFILLED,
        "wall time per catalog s": wall_s / BACKFILLED,
    }


def _cancelled_and_resumed(backfills: _Backfills, names: Sequence[str], notes: Path) -> dict[str, float]:
    backfill = backfills.launch(names)
    backfills.until("half of a backfill", lambda: len(backfills.made(names)) >= BACKFILLED // 2)
    backfills.cancel(backfill)
    backfills.until_ended(backfill, "CANCELED")
    before = len(backfills.made(names))
    backfills.until_ended(backfills.execute_again(backfill), "COMPLETED_SUCCESS")
    pictures = notes.read_text(encoding="utf-8").splitlines()
    return {
        "cancelled and resumed: catalogs made before": before,
        "cancelled and resumed: pictures made twice": len(pictures) - len(set(pictures)),
        "cancelled and resumed: catalogs without pictures": len(set(names) - backfills.made(names)),
    }


def both_backfills() -> dict[str, float]:
    """All figures, with the settings of the environment."""
    settings, notes = load_settings(), Path(os.environ[NOTES])
    with (
        dagster_instance(settings.home) as instance,
        _served(settings, "benchmarks.stand_in_location", with_daemon=True) as (page, stack),
    ):
        backfills = _Backfills(instance, stack, page)
        figures = _left_alone(backfills, _catalogs(settings, instance, "a"))
        return figures | _cancelled_and_resumed(backfills, _catalogs(settings, instance, "b"), notes)


CATALOGS = 5000
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
LIMITS = {
    "processor time per catalog s": 3.0,
    "cancelled and resumed: pictures made twice": 0,
    "cancelled and resumed: catalogs without pictures": 0,
    **{f"tick of {name} s": 2.0 for name in TICKS},
    **{f"page: {name} s": 2.0 for name in QUERIES},
}


def many_partitions() -> dict[str, float]:
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

    from imagegenx_assets.definitions import defs
    from imagegenx_assets.jobs import catalog_automation
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


def _page_figures(settings: Settings) -> dict[str, float]:
    figures = {}
    with _served(settings) as (address, _):
        for name, query in QUERIES.items():
            ask(address, query)  # it keeps what it has found out of partitions for later answers
            before_s = _processor_s()
            ask(address, query)
            figures[f"page: {name} s"] = _processor_s() - before_s
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
        return _tick_figures(settings, instance, names) | _page_figures(settings)
