"""Peak memory of catalog runs of very different sizes: it must not grow with the catalog.

Each run is the whole main job, in a process of its own, over a stand-in engine that paints at once (so that pictures
come as fast as encoding and storing allow, the worst case for memory). Half of the rows get a watermark.
"""

import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.child import child_output
from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model

FEW, MANY = 50, 2_000
_KB_PER_MB = 1024


LIMITS = {"growth MB": 150}


def run() -> dict[str, float]:
    """Peak resident memory of both runs in MB, and the difference."""
    few, many = (_peak_mb(rows) for rows in (FEW, MANY))
    return {f"{FEW} rows, peak MB": few, f"{MANY} rows, peak MB": many, "growth MB": many - few}


def _peak_mb(rows: int) -> float:
    """Peak resident memory of a run, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = write_stand_in_model(home / "models") | {"IMAGEGENX_HOME": folder, "DAGSTER_HOME": ""}
        write_catalog(home / "catalogs" / "bench.csv", rows)
        return float(child_output("catalog_memory", environment=settings))


def write_catalog(file: Path, rows: int) -> None:
    """A catalog of 512×512 pictures, every other one with a watermark."""
    file.parent.mkdir(parents=True)
    lines = (f"r{number},mug number {number},512x512,{'© shop' if number % 2 else ''}" for number in range(rows))
    file.write_text("\n".join(["id,text,resolution,watermark_text", *lines]), encoding="utf-8")


def _main() -> None:
    """The child process: one run of the main job, then its peak memory on standard output."""
    from benchmarks.main_job import run_main_job

    run_main_job("bench", StandInGPUEngine())
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB_PER_MB}\n")


if __name__ == "__main__":
    _main()
