"""A catalog on several hosts: processes with homes of their own, that share Redis and the object store.

Started by `benchmarks.fleet`, and by the test that kills hosts and catalog runs. A worker's engine is a stand-in that
sleeps; all else is real.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE, Popen
from typing import cast

from benchmarks.stand_in import SteppingEngine, serve, write_stand_in_model
from configs.settings import load_settings
from resources.object_store import ObjectStore, StoredObject
from resources.open_store import open_store

NOTES, STEP_S = "IMAGEGENX_BENCHMARK_NOTES", "IMAGEGENX_BENCHMARK_STEP_S"
"""The environment variables of the file that a worker writes to whenever it stores a picture, and of its pace."""


class Host:
    """A worker process.

    Args:
        environment: what all hosts share: the queue, the store, the models.
    """

    def __init__(self, home: Path, environment: Mapping[str, str], *, step_s: float) -> None:
        home.mkdir(parents=True)
        self.notes = home / "notes.txt"
        own = {"IMAGEGENX_HOME": str(home), NOTES: str(self.notes), STEP_S: str(step_s), "OMP_NUM_THREADS": "1"}
        self._log = (home / "worker.log").open("wb")
        command = [sys.executable, "-m", "benchmarks.fleet_hosts"]
        self._process = Popen(command, env={**os.environ, **environment, **own}, stdout=self._log, stderr=self._log)

    def stored(self) -> list[str]:
        """The keys of the pictures that it has stored, in order."""
        return self.notes.read_text(encoding="utf-8").split() if self.notes.exists() else []

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class Fleet:
    """Some hosts, and catalog runs beside them, over what they share.

    Args:
        folder: everything is below it.
        shared: settings of the queue and the store that all have, as environment variables; by default files.
    """

    def __init__(self, folder: Path, *, step_s: float, shared: Mapping[str, str] | None = None) -> None:
        files = {"IMAGEGENX_QUEUE__PATH": str(folder / "redis"), "IMAGEGENX_STORE__PATH": str(folder / "store")}
        common = {"IMAGEGENX_QUEUE__FSYNC": "everysec", "IMAGEGENX_QUEUE__LEASE_S": "5"}
        self.environment = {
            **write_stand_in_model(folder / "models"),
            **common,
            **(files if shared is None else shared),
        }
        self.hosts: list[Host] = []
        self.runs: list[Popen[str]] = []
        self._folder, self._step_s = folder, step_s

    def grow(self, count: int) -> None:
        """Start so many more workers."""
        for number in range(len(self.hosts), len(self.hosts) + count):
            self.hosts.append(Host(self._folder / f"host{number}", self.environment, step_s=self._step_s))

    def run(self, catalog: str, rows: int) -> "Popen[str]":
        """Start a run for a catalog."""
        home = self._folder / "catalog"
        (home / "catalogs").mkdir(parents=True, exist_ok=True)
        lines = "".join(f"r{number},a mug of {catalog} {number},64x64\n" for number in range(rows))
        (home / "catalogs" / f"{catalog}.csv").write_text(f"id,text,resolution\n{lines}", encoding="utf-8")
        self.runs.append(start_catalog(home, self.environment, catalog))
        return self.runs[-1]

    def stored(self) -> int:
        """Pictures that were stored by any host."""
        return sum(len(host.stored()) for host in self.hosts)

    def stored_twice(self) -> int:
        """Pictures that were stored more than once, by whomever."""
        counted = Counter(key for host in self.hosts for key in host.stored())
        return counted.total() - len(counted)

    def end(self) -> None:
        """End everything."""
        for run in self.runs:
            run.kill()
            run.communicate()
        for host in self.hosts:
            host.kill()


def told_by(run: "Popen[str]") -> dict[str, float]:
    """What a run told when it ended. Raises RuntimeError with what it said, if it failed."""
    output, errors = run.communicate()
    if run.returncode:
        raise RuntimeError(f"a catalog run ended with status {run.returncode}:\n{errors}")
    told: dict[str, float] = json.loads(output.splitlines()[-1])
    return told


def start_catalog(home: Path, environment: Mapping[str, str], catalog: str) -> "Popen[str]":
    """A run of the main job in a process of its own, whose last line of output is JSON; see `_catalog`."""
    own = {"IMAGEGENX_HOME": str(home), "DAGSTER_HOME": "", "IMAGEGENX_ENGINE__FLEET": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.fleet_hosts", catalog]
    return Popen(command, env={**os.environ, **environment, **own}, stdout=PIPE, stderr=PIPE, text=True)


class NotingStore:
    """A store that notes the pictures which a worker puts into it."""

    def __init__(self, store: ObjectStore, notes: Path) -> None:
        self._store, self._notes = store, notes

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """See `ObjectStore.put`."""
        stored = self._store.put(key, data, content_type=content_type)
        if key.startswith("pictures/"):
            with self._notes.open("a", encoding="utf-8") as notes:
                notes.write(f"{key}\n")
        return stored


def _catalog(name: str) -> None:
    """Run the main job; tell on standard output how it went and what it took."""
    from benchmarks.stand_in import run_main_job

    result = run_main_job(name)
    made = (event.materialization for event in result.get_asset_materialization_events())
    (generated,) = [one for one in made if one.asset_key.path == ["generated_images"]]
    figures = {what: float(str(generated.metadata[what].value)) for what in ("made", "reused", "failed", "wall_s")}
    told = {"success": result.success, "torch": "torch" in sys.modules, **figures}
    sys.stdout.write(json.dumps(told) + "\n")


def _worker() -> None:
    store = NotingStore(open_store(load_settings().store), Path(os.environ[NOTES]))
    serve(SteppingEngine(float(os.environ[STEP_S])), cast("ObjectStore", store))


if __name__ == "__main__":
    _catalog(sys.argv[1]) if len(sys.argv) > 1 else _worker()
