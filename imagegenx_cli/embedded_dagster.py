"""The Dagster instance of this machine: SQLite files below the home folder, unless DAGSTER_HOME names another."""

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import PACKAGE_ROOT
from foundation.private_folder import make_private
from imagegenx_cli.files import FileError, write_file
from resources.dagster_names import GRPC_INFO_TAG, PROCESS_TAG

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

_CLOCK_DRIFT_S = 60
_FOLDERS = "imagegenx-"
_CONFIG = "dagster.yaml"
INSTANCE_TEMPLATE = PACKAGE_ROOT / "configs" / "dagster.yaml"


@contextmanager
def dagster_instance(home: Path) -> Iterator["DagsterInstance"]:
    """The instance that the web server and daemon started with the same home also use."""
    folder = dagster_home(home)
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def dagster_home(home: Path) -> Path:
    """The instance's folder, made and configured if new; DAGSTER_HOME names it from now on.

    Raises:
        FileError: if it cannot be made, or Dagster would take its path for a pattern and find no dagster.yaml.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or home / "dagster")
    if "[" in str(folder):
        raise FileError(f"{folder} cannot hold the Dagster instance: Dagster reads '[' as a pattern. Move it.")
    try:
        if not folder.exists():
            _make(folder)
        elif not (folder / _CONFIG).exists():
            write_file(folder / _CONFIG, INSTANCE_TEMPLATE.read_bytes())
    except OSError as exc:
        raise FileError(f"{folder} cannot hold the Dagster instance: {exc.strerror}.") from exc
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def _make(folder: Path) -> None:
    """Make an instance whole or not at all: Dagster cannot go on with databases that a kill left half made."""
    from dagster import DagsterInstance

    make_private(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary, folder.name)
        made.mkdir()
        write_file(made / _CONFIG, INSTANCE_TEMPLATE.read_bytes())
        os.environ["DAGSTER_HOME"] = str(made)
        with DagsterInstance.from_config(str(made)):
            pass
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # no other process was faster
                raise


def this_process() -> dict[str, str]:
    """The tag of runs that live in this process and cannot outlive it."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}:{_began_at_s(os.getpid()):.0f}"}


def code_server_folder() -> str:
    """How the names of folders begin that hold the socket of this machine's code server."""
    return f"{_FOLDERS}{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]}-"


def end_dead_runs(instance: "DagsterInstance") -> None:
    """Mark the runs as failed whose process on this machine was killed: nothing else would ever end them.

    Runs of other machines and containers are left alone, since their processes and sockets cannot be seen from here.
    """
    from dagster import DagsterRunStatus, RunsFilter

    open_runs = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for run in instance.get_runs(RunsFilter(statuses=open_runs)):
        if _process_is_dead(run) or _code_server_is_dead(run):
            instance.report_run_failed(run, "The process of this run was killed. Run it again: it goes on from there.")


def _process_is_dead(run: "DagsterRun") -> bool:
    host, _, process = run.tags.get(PROCESS_TAG, "").partition(":")
    pid, _, began_at_s = process.partition(":")
    if host != socket.gethostname() or not began_at_s:
        return False
    return abs(_began_at_s(int(pid)) - int(began_at_s)) > _CLOCK_DRIFT_S


def _code_server_is_dead(run: "DagsterRun") -> bool:
    """Whether the run was started by a code server on this machine that is no more; its runs end with it."""
    path = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
    if not path or _is_elsewhere(Path(path).parent.name):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(path) != 0


def _is_elsewhere(folder: str) -> bool:
    """Whether a code server's folder is one of `imagegenx dev` on another machine."""
    return folder.startswith(_FOLDERS) and not folder.startswith(code_server_folder())


def _began_at_s(pid: int) -> float:
    """When a process began, since ids are used again; 0 if there is none."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
