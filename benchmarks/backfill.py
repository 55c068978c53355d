"""What a backfill of many small catalogs costs beyond generation, and what one loses that is cancelled half-way.

Dagster is real: its daemon, code server and web server, which is asked as the page is on which a backfill is launched,
cancelled and executed again. The engine is one that paints at once, so that what is left is the overhead: the daemon's
rounds, starting processes, encoding, manifests, checks, galleries, events.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import measured
from benchmarks.dagster_page import answers, ask, free_port
from benchmarks.stand_in import NOTES, write_stand_in_model
from configs.settings import Settings, load_settings
from imagegenx_cli.dev import code_server_command, daemon_command, engine_threads, web_server_command, write_workspace
from imagegenx_cli.embedded_dagster import dagster_instance
from imagegenx_cli.processes import ProcessStack
from resources.dagster_names import CATALOG_PARTITIONS, STAGES

if TYPE_CHECKING:
    from dagster import DagsterInstance

CATALOGS, ROWS = 200, 20
LIMITS = {
    "processor time per catalog s": 3.0,
    "cancelled and resumed: pictures made twice": 0,
    "cancelled and resumed: catalogs without pictures": 0,
}
_PATIENCE_S = 900.0
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


def run() -> dict[str, float]:
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
def _dagster(settings: Settings) -> Iterator[tuple["DagsterInstance", _Backfills]]:
    """Dagster's servers and daemon over the home folder, while the block runs."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with (
        dagster_instance(settings.home) as instance,
        tempfile.TemporaryDirectory() as folder,
        ProcessStack(settings.home / "logs") as stack,
    ):
        code_socket, workspace = write_workspace(Path(folder))
        command = code_server_command(code_socket, "benchmarks.stand_in_location")
        stack.start("code server", command, engine_threads(settings))
        stack.wait_until("the code server", code_socket.exists, _PATIENCE_S)
        stack.start("daemon", daemon_command(workspace))
        stack.start("web server", web_server_command(workspace, port))
        stack.wait_until("the web server", lambda: answers(page), _PATIENCE_S)
        yield instance, _Backfills(instance, stack, page)


def _catalogs(settings: Settings, instance: "DagsterInstance", letter: str) -> list[str]:
    """Registered catalogs of a few quick pictures; their names."""
    names = [f"{letter}{number:04}" for number in range(CATALOGS)]
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
        "processor time per catalog s": (_processor_s() - before_s) / CATALOGS,
        "wall time per catalog s": wall_s / CATALOGS,
    }


def _cancelled_and_resumed(backfills: _Backfills, names: Sequence[str], notes: Path) -> dict[str, float]:
    backfill = backfills.launch(names)
    backfills.until("half of a backfill", lambda: len(backfills.made(names)) >= CATALOGS // 2)
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
    with _dagster(settings) as (instance, backfills):
        figures = _left_alone(backfills, _catalogs(settings, instance, "a"))
        return figures | _cancelled_and_resumed(backfills, _catalogs(settings, instance, "b"), notes)
