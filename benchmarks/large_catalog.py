"""A catalog of 20,000 rows: seconds and memory of its validation, planning and manifests, without any picture.

The file is checked as `catalog validate` does, each row is planned as `generated_images` does, and the manifest of all
rows is written to a local store and read again, in a process of its own that has done the same for a small catalog.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.catalog_memory import write_catalog
from benchmarks.child import child_output
from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from configs.settings import load_settings
from io_managers.image_set import Status, encode_manifest, manifest_key, read_image_set
from io_managers.image_set_writer import PARQUET
from io_managers.settling import recipe_row
from ops.catalog import FolderFiles, read_catalog
from ops.finish import Finisher
from ops.generation import Generator, plan_row
from ops.input_pictures import InputPictures
from ops.making.in_process import EngineMaker
from resources.open_store import open_store

FEW, MANY = 50, 20_000
LIMITS = {"validation s": 10, "planning s": 10, "manifest written s": 5, "manifest read s": 5, "growth MB": 250}
_ASSET = "generated_images"
_KB_PER_MB = 1024


def run() -> dict[str, float]:
    """Seconds of each part, and by how many MB peak resident memory grows from the small catalog to the large one."""
    with tempfile.TemporaryDirectory() as folder:
        settings = write_stand_in_model(Path(folder) / "models") | {"IMAGEGENX_HOME": folder}
        figures: dict[str, float] = json.loads(child_output("large_catalog", environment=settings))
    return figures


def handle_catalog(file: Path) -> dict[str, float]:
    """Take a catalog's file through all but its pictures; returns the seconds of each part."""
    settings, gpu_engine = load_settings(), StandInGPUEngine()
    store, registry = open_store(settings.store), gpu_engine.registry
    seconds: dict[str, float] = {}
    with _timed(seconds, "validation s"):
        catalog = read_catalog(file, registry)
    with _timed(seconds, "planning s"):
        inputs = InputPictures(FolderFiles(file.parent, catalog.name), store, settings.pictures.max_input_pixels)
        maker = EngineMaker(gpu_engine.engine, Finisher(store), settings.pictures)
        generator = Generator(maker, registry, store, settings.pictures.original_quality)
        planned = (plan_row(row_id, request, generator, inputs) for row_id, request in catalog.requests())
        rows = [recipe_row(one.row(), Status.MADE, one.recipe, one.format) for one in planned if one.recipe]
    with _timed(seconds, "manifest written s"):
        store.put(manifest_key(_ASSET, catalog.name), encode_manifest(rows), content_type=PARQUET)
    with _timed(seconds, "manifest read s"):
        kept = sum(bool(row.key) for row in read_image_set(store, _ASSET, catalog.name).rows())
    if kept != len(catalog.table):
        raise RuntimeError(f"{kept} of {len(catalog.table)} rows came back from the manifest")
    return seconds


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB_PER_MB


def _main() -> None:
    """The child process: all figures, as JSON on the last line of standard output."""
    folder = load_settings().catalog_folder
    for name, rows in (("few", FEW), ("many", MANY)):
        write_catalog(folder / name / f"{name}.csv", rows)
    handle_catalog(folder / "few" / "few.csv")
    before_mb = _peak_mb()
    seconds = handle_catalog(folder / "many" / "many.csv")
    sys.stdout.write(f"{json.dumps({**seconds, 'growth MB': _peak_mb() - before_mb})}\n")


if __name__ == "__main__":
    _main()
