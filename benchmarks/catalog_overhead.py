"""What a catalog run costs beyond the engine: encoding, storing, manifests and Dagster should hide behind it.

The same requests go to the engine alone and through the whole main job, in one process of its own, with the model warm
for both and Dagster's database made by a small catalog; the engine alone is timed before and after, since machines
drift.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.child import child_output
from benchmarks.main_job import run_main_job
from configs.settings import Settings, load_settings
from models.engine import GenerationJob
from ops.catalog import FolderFiles, read_catalog
from ops.finish import Finisher
from ops.generation import Generator, plan_row
from ops.input_pictures import InputPictures
from ops.making.in_process import EngineMaker
from resources.gpu_engine import GPUEngine
from resources.open_store import open_store
from resources.settings_resource import SettingsResource

ROWS = 128
LIMITS = {"generated_images / engine": 1.10, "whole job / engine": 1.10}


def run() -> dict[str, float]:
    """Seconds of the engine alone, of `generated_images` and of the whole job, and their ratios to the engine's."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"IMAGEGENX_HOME": folder, "DAGSTER_HOME": ""}
        figures: dict[str, float] = json.loads(child_output("catalog_overhead", environment=environment))
    return figures


def _main() -> None:
    """The child process: all timings, as JSON on the last line of standard output."""
    settings, gpu_engine = load_settings(), GPUEngine(settings=SettingsResource())
    _write_catalog(settings.catalog_folder / "small.csv", "a blue hat on a pink background", 4)
    catalog = settings.catalog_folder / "bench.csv"
    _write_catalog(catalog, "a red mug on a white background", ROWS)
    run_main_job("small", gpu_engine)
    jobs = list(_jobs(catalog, settings, gpu_engine))
    _engine_s(gpu_engine, jobs[:8])  # loads and warms the model
    before_s = _engine_s(gpu_engine, jobs)
    began = time.perf_counter()
    result = run_main_job("bench", gpu_engine)
    job_s = time.perf_counter() - began
    (event,) = result.asset_materializations_for_node("generated_images")
    generated_s = float(str(event.metadata["wall_s"].value))
    engine_s = (before_s + _engine_s(gpu_engine, jobs)) / 2
    figures = {"engine s": engine_s, "generated_images s": generated_s, "whole job s": job_s}
    ratios = {"generated_images / engine": generated_s / engine_s, "whole job / engine": job_s / engine_s}
    sys.stdout.write(json.dumps(figures | ratios) + "\n")


def _write_catalog(file: Path, text: str, rows: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"r{number},{text},{number}" for number in range(rows))
    file.write_text("\n".join(["id,text,seed", *lines]), encoding="utf-8")


def _jobs(catalog: Path, settings: Settings, gpu_engine: GPUEngine) -> Iterator[GenerationJob]:
    store = open_store(settings.store)
    maker = EngineMaker(gpu_engine.engine, Finisher(store), settings.pictures)
    generator = Generator(maker, gpu_engine.registry, store, settings.pictures.original_quality)
    inputs = InputPictures(FolderFiles(catalog.parent, "bench"), store, settings.pictures.max_input_pixels)
    for row_id, request in read_catalog(catalog, gpu_engine.registry).requests():
        recipe = plan_row(row_id, request, generator, inputs).recipe
        assert recipe
        yield GenerationJob(row_id, recipe)


def _engine_s(gpu_engine: GPUEngine, jobs: list[GenerationJob]) -> float:
    """Seconds the engine alone takes."""
    began = time.perf_counter()
    for outcome in gpu_engine.engine.generate(jobs):
        assert outcome.id
    return time.perf_counter() - began


if __name__ == "__main__":
    _main()
