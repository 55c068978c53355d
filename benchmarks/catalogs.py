"""Runs of catalogs: what everybody waits for, what a run costs beside the engine, and memory that must not grow.

Each is measured in a process of its own, over a stand-in engine that paints at once, except where it is the engine that
a run is compared with.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from benchmarks.processes import measured
from benchmarks.stand_in import StandInGPUEngine, run_main_job, write_stand_in_model
from configs.settings import Settings, load_settings
from io_managers.image_set import Status, encode_manifest, manifest_key, read_image_set
from io_managers.image_set_writer import PARQUET
from io_managers.settling import recipe_row
from models.engine import GenerationJob
from ops.catalog.pictures import FolderFiles
from ops.catalog.reading import Catalog, read_catalog
from ops.generation import PlannedRow, plan_row
from ops.input_pictures import InputPictures
from resources.code_server_runs import RUNS_LOAD
from resources.gpu_engine import GPUEngine
from resources.open_store import open_store
from resources.settings_resource import SettingsResource

_RUN = "run of a catalog of 20 rows that is painted at once, from the start of its process, processor s"
_FORKED_RUN = "the same, forked as a code server does, processor s"
PARTS = ("validation s", "planning s", "manifest written s", "manifest read s")
FEW, MADE, PLANNED, COMPARED = 50, 2_000, 20_000, 128
"""Rows of the catalogs."""
LIMITS = {
    "imagegenx --help, processor s": 1.0,
    "code location, processor s": 2.5,
    _FORKED_RUN: 3.0,
    f"growth to {MADE} rows made, MB": 150,
    **dict(zip(PARTS, (10, 10, 5, 5), strict=True)),
    f"growth to {PLANNED} rows planned, MB": 250,
    "generated_images / engine": 1.10,
    "whole job / engine": 1.10,
}
_TRIES = 3


def startup() -> dict[str, float]:
    """Processor seconds of the command line's help, the code location and a small run, the least of a few tries."""
    commands = {
        "imagegenx --help, processor s": ["-c", "from imagegenx_cli.main import main; main()", "--help"],
        "code location, processor s": ["-c", "import imagegenx_assets.definitions"],
    }
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installation, modules are compiled once, also where the environment says otherwise.
        kept = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        figures = {name: min(_processor_s(one, kept) for _ in range(_TRIES)) for name, one in commands.items()}
        return figures | {name: _small_run_s(kept, forked=name == _FORKED_RUN) for name in (_RUN, _FORKED_RUN)}


def _processor_s(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=os.environ | environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _small_run_s(kept: Mapping[str, str], *, forked: bool) -> float:
    """Of a run whose pictures cost little; Dagster's database is there already."""
    with _home() as (folder, environment):
        (folder / "catalogs").mkdir()
        taken: list[float] = []
        for number in range(1 + _TRIES):
            lines = "".join(f"r{row},a mug {number} {row},64x64\n" for row in range(20))
            (folder / f"catalogs/c{number}.csv").write_text(f"id,text,resolution\n{lines}", encoding="utf-8")
            taken.append(measured(processor_s_of_run, f"c{number}", forked, environment=environment | {**kept}))
    return min(taken[1:])


def processor_s_of_run(catalog: str, forked: bool) -> float:
    """Processor seconds of this process when the run has ended; less those of what a fork would have loaded already."""
    if forked:
        for module in ("imagegenx_assets.definitions", *RUNS_LOAD):
            import_module(module)
    began_s = time.process_time() if forked else 0.0
    assert run_main_job(catalog, StandInGPUEngine()).success
    return time.process_time() - began_s


def memory() -> dict[str, float]:
    """Peak resident memory in MB of two runs, as pictures come as fast as they can be encoded, and the difference."""
    few, many = (_peak_mb(rows) for rows in (FEW, MADE))
    return {f"{FEW} rows, peak MB": few, f"{MADE} rows, peak MB": many, f"growth to {MADE} rows made, MB": many - few}


def _peak_mb(rows: int) -> float:
    with _home() as (folder, environment):
        write_catalog(folder / "catalogs" / "bench.csv", rows)
        peak: float = measured(peak_mb_of_run, "bench", environment=environment)
        return peak


def peak_mb_of_run(catalog: str) -> float:
    """Peak resident memory of this process when the run has ended, in MB."""
    run_main_job(catalog, StandInGPUEngine())
    return peak_mb()


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_catalog(file: Path, rows: int) -> None:
    """A catalog of 512×512 pictures, every other one with a watermark."""
    file.parent.mkdir(parents=True)
    lines = (f"r{number},mug number {number},512x512,{'© shop' if number % 2 else ''}" for number in range(rows))
    file.write_text("\n".join(["id,text,resolution,watermark_text", *lines]), encoding="utf-8")


def large() -> dict[str, float]:
    """Seconds of all but the pictures of a large catalog, and by how many MB memory grows from a small one to it."""
    with _home() as (folder, environment):
        files = [folder / name / f"{name}.csv" for name in ("few", "many")]
        for file, rows in zip(files, (FEW, PLANNED), strict=True):
            write_catalog(file, rows)
        figures: dict[str, float] = measured(seconds_and_growth, *map(str, files), environment=environment)
    return figures


def seconds_and_growth(few: str, many: str) -> dict[str, float]:
    """Seconds of each part of the second catalog, and how much memory that takes beyond the first."""
    handle_catalog(Path(few))
    before_mb = peak_mb()
    seconds = handle_catalog(Path(many))
    return {**seconds, f"growth to {PLANNED} rows planned, MB": peak_mb() - before_mb}


def handle_catalog(file: Path) -> dict[str, float]:
    """Check a catalog as `catalog validate` does, plan it, write its manifest and read it; the seconds of each part."""
    settings, gpu_engine = load_settings(), StandInGPUEngine()
    store, seconds, asset = open_store(settings.store), dict.fromkeys(PARTS, 0.0), "generated_images"
    with _timed(seconds, PARTS[0]):
        catalog = read_catalog(file, gpu_engine.registry)
    with _timed(seconds, PARTS[1]):
        planned = _planned(catalog, file.parent, settings, gpu_engine)
        rows = [recipe_row(one.row(), Status.MADE, one.recipe, one.format) for one in planned if one.recipe]
    with _timed(seconds, PARTS[2]):
        store.put(manifest_key(asset, catalog.name), encode_manifest(rows), content_type=PARQUET)
    with _timed(seconds, PARTS[3]):
        kept = sum(bool(row.key) for row in read_image_set(store, asset, catalog.name).rows())
    if kept != len(catalog.table):
        raise RuntimeError(f"{kept} of {len(catalog.table)} rows came back from the manifest")
    return seconds


def overhead() -> dict[str, float]:
    """Seconds of the engine alone, of `generated_images` and of the whole job, and their ratios to the engine's.

    Encoding, storing, manifests and Dagster should hide behind it.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {"IMAGEGENX_HOME": folder, "DAGSTER_HOME": ""}
        figures: dict[str, float] = measured(run_beside_engine, environment=environment)
    return figures


def run_beside_engine() -> dict[str, float]:
    """The same, in a process with the model warm; the engine is timed before and after, since machines drift."""
    settings, gpu_engine = load_settings(), GPUEngine(settings=SettingsResource())
    settings.catalog_folder.mkdir(parents=True)
    catalog = settings.catalog_folder / "bench.csv"
    for file, rows in ((settings.catalog_folder / "small.csv", 4), (catalog, COMPARED)):
        lines = (f"r{number},a red mug {rows} on a white background,{number}" for number in range(rows))
        file.write_text("\n".join(["id,text,seed", *lines]), encoding="utf-8")
    run_main_job("small", gpu_engine)  # makes Dagster's database
    checked = read_catalog(catalog, gpu_engine.registry)
    planned = _planned(checked, catalog.parent, settings, gpu_engine)
    jobs = [GenerationJob(one.row_id, one.recipe) for one in planned if one.recipe]
    _engine_s(gpu_engine, jobs[:8])
    before_s = _engine_s(gpu_engine, jobs)
    began = time.perf_counter()
    result = run_main_job("bench", gpu_engine)
    job_s = time.perf_counter() - began
    (event,) = result.asset_materializations_for_node("generated_images")
    generated_s = float(str(event.metadata["wall_s"].value))
    engine_s = (before_s + _engine_s(gpu_engine, jobs)) / 2
    figures = {"engine s": engine_s, "generated_images s": generated_s, "whole job s": job_s}
    return figures | {"generated_images / engine": generated_s / engine_s, "whole job / engine": job_s / engine_s}


def _engine_s(gpu_engine: GPUEngine, jobs: list[GenerationJob]) -> float:
    """Seconds the engine alone takes."""
    began = time.perf_counter()
    for outcome in gpu_engine.engine.generate(jobs):
        assert outcome.id
    return time.perf_counter() - began


def _planned(catalog: Catalog, folder: Path, settings: Settings, gpu_engine: GPUEngine) -> Iterator[PlannedRow]:
    store = open_store(settings.store)
    inputs = InputPictures(FolderFiles(folder, catalog.name), store, settings.pictures.max_input_pixels)
    for row_id, request in catalog.requests():
        yield plan_row(row_id, request, inputs, gpu_engine.registry, gpu_engine.engine.kind)


@contextmanager
def _home() -> Iterator[tuple[Path, dict[str, str]]]:
    """A home folder with the stand-in's model, and the settings that name both."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"IMAGEGENX_HOME": folder, "DAGSTER_HOME": "", "OMP_NUM_THREADS": "1"}
        yield Path(folder), own | write_stand_in_model(Path(folder) / "models")


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began
