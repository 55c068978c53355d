"""What a backfill of many small catalogs costs beyond generation: processes, models, manifests, galleries, events.

As many catalogs as a backfill puts into one run share a process of their own, as they do under Dagster's launcher. The
processes come one after the other, as on one GPU, and their start and the loading of the model count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.settings import load_settings
from imagegenx_assets.catalog_assets import CATALOGS_PER_RUN
from imagegenx_assets.jobs import CATALOG_JOB
from imagegenx_cli.embedded_dagster import dagster_instance
from io_managers.image_set import read_image_set
from models.pipeline_pool import PipelinePool
from resources.object_store import open_store
from sensors.launching import PARTITIONS

CATALOGS, ROWS = 200, 2
LIMITS = {"runs": 10, "model loads in a run": 1, "overhead per catalog s": 0.5}


def run() -> dict[str, float]:
    """Runs, the most models loaded by one of them, and seconds per catalog, of generation and of everything else."""
    names = [f"c{number:04}" for number in range(CATALOGS)]
    with tempfile.TemporaryDirectory() as folder:
        _write_catalogs(Path(folder) / "catalogs", names)
        began = time.perf_counter()
        ranges = [names[first : first + CATALOGS_PER_RUN] for first in range(0, CATALOGS, CATALOGS_PER_RUN)]
        reports = [_run_process(folder, one[0], one[-1]) for one in ranges]
        wall_s = time.perf_counter() - began
    generation_s = sum(report["generation_s"] for report in reports)
    return {
        "runs": len(reports),
        "model loads in a run": max(report["loads"] for report in reports),
        "generation per catalog s": generation_s / CATALOGS,
        "overhead per catalog s": (wall_s - generation_s) / CATALOGS,
    }


def _write_catalogs(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        rows = "".join(f"r{row},a red mug of {name},{row},4\n" for row in range(ROWS))
        (folder / f"{name}.csv").write_text(f"id,text,seed,steps\n{rows}", encoding="utf-8")


def _run_process(home: str, first: str, last: str) -> dict[str, float]:
    """One run in a process of its own; returns what it reports."""
    command = [sys.executable, "-m", "benchmarks.backfill", first, last]
    environment = os.environ | {"IMAGEGENX_HOME": home, "DAGSTER_HOME": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the run {first} to {last} ended with status {result.returncode}:\n{result.stderr}")
    report: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return report


def _main(first: str, last: str) -> None:
    """The child process: the run of a range of catalogs, as a backfill launches it."""
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

    from imagegenx_assets.definitions import defs

    settings = load_settings()
    loads: list[object] = []
    with dagster_instance(settings.home) as instance, _counted_loads(loads):
        instance.add_dynamic_partitions(PARTITIONS, sorted(file.stem for file in settings.catalog_folder.iterdir()))
        defs.resolve_job_def(CATALOG_JOB).execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
        )
    store = open_store(settings.store)
    names = [name for file in settings.catalog_folder.iterdir() if first <= (name := file.stem) <= last]
    seconds = [row.seconds for name in names for row in read_image_set(store, "generated_images", name).rows()]
    sys.stdout.write(json.dumps({"loads": len(loads), "generation_s": sum(seconds)}) + "\n")


@contextmanager
def _counted_loads(loads: list[object]) -> Iterator[None]:
    """Note every model that this process loads."""
    lease = PipelinePool.lease

    def counting(pool: PipelinePool, key: object, load: Callable[[], object], *rest: object) -> object:
        def counted() -> object:
            loads.append(key)
            return load()

        return lease(pool, key, counted, *rest)  # type: ignore[arg-type]

    PipelinePool.lease = counting  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        PipelinePool.lease = lease  # type: ignore[method-assign]


if __name__ == "__main__":
    _main(*sys.argv[1:])
