"""`imagegenx catalog export`: approved pictures into a folder or a zip file."""

import os
import tempfile
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path

from configs.settings import load_settings
from foundation.errors import ImageGenXError
from imagegenx_cli.terminal import say
from ops.catalog.home_folder import open_catalogs
from ops.review.export import WRITTEN, Exported, export_catalog
from resources.local_store import LocalObjectStore
from resources.object_store import TEMP_FOLDER
from resources.object_store_resource import object_uri
from resources.open_store import open_store


class OutputError(ImageGenXError):
    """An export cannot go there."""


def export(name: str, output: Path) -> None:
    """Write a catalog's pictures and results, and say how many; see `ops.review.export`."""
    into = _into_zip if output.suffix.lower() == ".zip" else _into_folder
    done = into(name, output)
    counts = done.counts
    say(
        f"catalog '{name}': {done.pictures} pictures in {output}, {done.written} written, {done.kept} kept,"
        f" {done.removed} removed; {counts['approved']} approved, {counts['rejected']} rejected,"
        f" {counts['unreviewed']} to review, {counts['failed']} failed."
    )


def _into_folder(name: str, folder: Path) -> Exported:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"output '{folder}' is a file. Name a folder, or a new file that ends in .zip.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / WRITTEN).is_file():
        raise OutputError(f"output '{folder}' holds other files. Name a new folder, or one of an earlier export.")
    settings = load_settings()
    catalogs = open_catalogs(settings, open_store(settings.store))
    done = export_catalog(catalogs, name, LocalObjectStore(folder), "", partial(object_uri, settings.store))
    with suppress(OSError):
        (folder / TEMP_FOLDER).rmdir()
    return done


def _into_zip(name: str, output: Path) -> Exported:
    if output.exists():
        raise OutputError(f"output '{output}' is there already. Remove it, or name another file.")
    with tempfile.TemporaryDirectory() as folder:
        done = _into_folder(name, Path(folder) / "files")
        unfinished = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            with zipfile.ZipFile(unfinished, "w") as file:  # pictures do not become smaller
                for one in sorted((Path(folder) / "files").iterdir()):
                    if one.is_file() and one.name != WRITTEN:
                        file.write(one, one.name)
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
    return done
