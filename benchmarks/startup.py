"""What everybody waits for: the command line's help, the code location that every Dagster process loads, and a run."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.child import child_output
from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model

_CATALOG = "run of a catalog of 20 rows that is painted at once, from the start of its process, processor s"
LIMITS = {"imagegenx --help, processor s": 1.0, "code location, processor s": 2.5, _CATALOG: 3.0}
_TRIES = 3
ROWS = 20
_NAME = "IMAGEGENX_BENCHMARK_CATALOG"


def run() -> dict[str, float]:
    """Processor seconds of each, the least of a few tries."""
    commands = {
        "imagegenx --help, processor s": ["-c", "from imagegenx_cli.main import main; main()", "--help"],
        "code location, processor s": ["-c", "import imagegenx_assets.definitions"],
    }
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installation, modules are compiled once, also where the environment says otherwise.
        kept = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        figures = {name: min(_processor_s(one, kept) for _ in range(_TRIES)) for name, one in commands.items()}
        return figures | {_CATALOG: _run_s(kept)}


def _run_s(kept: Mapping[str, str]) -> float:
    """Of a run whose pictures cost little; Dagster's database is there already."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**kept, "IMAGEGENX_HOME": folder, "DAGSTER_HOME": "", "OMP_NUM_THREADS": "1"}
        environment |= write_stand_in_model(Path(folder) / "models")
        (Path(folder) / "catalogs").mkdir()
        taken: list[float] = []
        for number in range(1 + _TRIES):
            lines = "".join(f"r{row},a mug {number} {row},64x64\n" for row in range(ROWS))
            (Path(folder) / f"catalogs/c{number}.csv").write_text(f"id,text,resolution\n{lines}", encoding="utf-8")
            environment[_NAME] = f"c{number}"
            taken.append(json.loads(child_output("startup", environment=environment)))
    return min(taken[1:])


def _processor_s(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=os.environ | environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _main() -> None:
    """The child process: make a catalog, and tell what that took."""
    from benchmarks.main_job import run_main_job

    assert run_main_job(os.environ[_NAME], StandInGPUEngine()).success
    sys.stdout.write(f"{json.dumps(time.process_time())}\n")


if __name__ == "__main__":
    _main()
