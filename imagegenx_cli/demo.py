"""`imagegenx demo`: the main job in this process, on the embedded defaults."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from configs.settings import Settings, load_settings
from foundation.outside_text import one_line
from foundation.private_folder import make_private
from imagegenx_cli.catalogs import add_partition, register_shipped
from imagegenx_cli.embedded_dagster import dagster_instance, end_dead_runs, this_process
from imagegenx_cli.terminal import InterruptedByPersonError, progress_bars, say
from io_managers.image_set import ImageSet, Status, read_image_set
from models.registry import open_registry
from ops.catalog.home_folder import open_catalogs
from ops.gallery_page import gallery_key
from resources.object_store import ObjectStore
from resources.open_store import open_store

if TYPE_CHECKING:
    from dagster import DagsterInstance

SHOWN_FAILURES = 10


def run_demo(catalog: str) -> int:
    """Make a catalog's pictures and print the summary and the gallery's path.

    Returns:
        the exit status: 1 if a row failed.
    """
    settings = load_settings()
    register_shipped(catalog, settings, open_registry(settings))
    open_catalogs(settings, open_store(settings.store)).get(catalog)
    with dagster_instance(settings.home) as instance:
        end_dead_runs(instance)
        add_partition(instance, catalog)
        with progress_bars():
            run_catalog(instance, catalog)
    return _report(catalog, settings, open_store(settings.store))


def run_catalog(instance: "DagsterInstance", catalog: str) -> None:
    """Run the main job for one catalog, here and now; what an asset raises is raised."""
    from dagster import DagsterExecutionInterruptedError

    from imagegenx_assets.definitions import defs
    from imagegenx_assets.jobs import CATALOG_JOB

    job = defs.resolve_job_def(CATALOG_JOB)
    # What goes wrong is raised; its traceback stays in Dagster's event log and off the terminal.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    try:
        job.execute_in_process(run_config=quiet, instance=instance, partition_key=catalog, tags=this_process())
    except DagsterExecutionInterruptedError as exc:
        raise InterruptedByPersonError("interrupted. Start it again: it goes on where it stopped.") from exc


def _report(catalog: str, settings: Settings, store: ObjectStore) -> int:
    generated = read_image_set(store, "generated_images", catalog)
    finished = read_image_set(store, "watermarked_images", catalog)
    failed = [row for row in finished.rows() if not row.status.has_picture]
    for row in failed[:SHOWN_FAILURES]:
        say(f"{row.status}: {row.row_id}: {one_line(row.error)}", err=True)
    made, reused = (_count(generated, status) for status in (Status.MADE, Status.REUSED))
    say(f"summary: {made} generated, {reused} reused, {len(failed)} failed")
    say(f"gallery: {gallery_file(catalog, settings, store)}")
    return 1 if failed else 0


def _count(images: ImageSet, status: Status) -> int:
    return sum(row.status is status for row in images.rows())


def gallery_file(catalog: str, settings: Settings, store: ObjectStore) -> Path:
    """The gallery page as a file: the local store's own, or a copy of one that is elsewhere."""
    key = gallery_key(catalog)
    url = urlparse(store.url(key))
    if url.scheme == "file":
        return Path(url2pathname(url.path))
    copy = settings.home / key
    make_private(copy.parent)
    copy.write_bytes(store.get(key))
    return copy
