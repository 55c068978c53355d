"""The folder of registered catalogs: adding to it, and finding in it."""

import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from foundation.error_text import cause_text
from foundation.private_folder import make_private
from ops.catalog.endings import MAX_BYTES
from ops.catalog.inside import LeadsOutError
from ops.catalog.pictures import CatalogPicture
from ops.catalog.problems import CatalogError, CatalogHeldUpError, CatalogProblem
from ops.catalog.reading import Catalog, catalog_name, is_name, read_catalog

if TYPE_CHECKING:
    from configs.settings import Settings
    from models.registry import ModelRegistry


RETIRED = "retired"
"""The folder, in the catalog folder, of catalogs that are no longer made."""


def catalog_file(folder: Path, name: str) -> Path:
    """The file of a registered catalog; CatalogError if there is none, or the name could lead out of the folder."""
    if not is_name(name):
        raise CatalogError(name[:80], [CatalogProblem("", "", "this cannot be a catalog's name")])
    for ending in MAX_BYTES:
        if (file := folder / f"{name}{ending}").is_file():
            return file
    for found, file in registered_files(folder):  # an ending in capitals, a name in another Unicode form
        if found == name:
            return file
    raise CatalogError(name, [CatalogProblem("", "", f"no such catalog in {folder}; add it with `catalog add FILE`")])


def registered_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(catalog, file) of each registered catalog, in order; whatever else is in the folder is left out."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (
            file.suffix.lower() in MAX_BYTES
            and is_name(name := unicodedata.normalize("NFC", file.stem))
            and file.is_file()
        ):
            yield name, file


def register_catalog(
    file: Path, settings: "Settings", registry: "ModelRegistry", pictures_from: Path | None = None
) -> Catalog:
    """Check a catalog and put it, with the pictures it names, into the catalog folder under its own name.

    A catalog of that name is replaced, whatever its ending. A reader sees the old file or the new one, never half.

    Args:
        pictures_from: the folder of the pictures; the file's own by default.
    Raises:
        CatalogError: if anything is wrong with it; then nothing is changed.
        CatalogHeldUpError: if the folder cannot be written to.
    """
    catalog = read_catalog(file, registry, pictures_from)
    folder, name = settings.catalog_folder, catalog_name(file)
    try:
        make_private(folder)
        target = folder / f"{name}{file.suffix.lower()}"
        if not (target.exists() and target.samefile(file)):
            _copy_pictures(catalog.pictures, folder / f"{name}.pictures")
            with file.open("rb") as content:
                _copy(content, target)
        for ending in MAX_BYTES:
            if ending != target.suffix:
                (folder / f"{name}{ending}").unlink(missing_ok=True)
    except OSError as exc:
        raise CatalogHeldUpError(
            name, [CatalogProblem("", "", f"cannot be written to {folder}: {cause_text(exc)}")]
        ) from exc
    except LeadsOutError as exc:
        raise CatalogError(name, [CatalogProblem("", "", str(exc))]) from exc
    return catalog


def retire_catalog(name: str, settings: "Settings") -> None:
    """Move a registered catalog, with its pictures, to `retired/` in the catalog folder; one of its name there goes.

    What was moved before stays: a move that was cut short is finished, and retiring again changes nothing.
    """
    folder = settings.catalog_folder
    retired = folder / RETIRED
    retired.mkdir(parents=True, exist_ok=True)
    files = [f"{name}{ending}" for ending in MAX_BYTES]
    pictures = f"{name}.pictures"
    registered = [file for file in files if (folder / file).exists()]
    if not registered:
        return
    # The file goes last: as long as it is there, a move that was cut short is begun again.
    if (folder / pictures).exists():
        _remove(retired / pictures)
        (folder / pictures).replace(retired / pictures)
    for file in files:
        if file not in registered:
            _remove(retired / file)
    for file in registered:
        (folder / file).replace(retired / file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_pictures(pictures: tuple[CatalogPicture, ...], folder: Path) -> None:
    """Copy what is named now, then remove what no row names any more."""
    wanted = {folder / picture.reference: picture for picture in pictures}
    for target, picture in wanted.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and target.samefile(picture.file)):
            with picture.open() as content:
                _copy(content, target)
    for file in [file for file in folder.rglob("*") if file.is_file() and file not in wanted]:
        file.unlink()


def _copy(content: BinaryIO, target: Path) -> None:
    """Copy so that `target` is never seen half-written."""
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".copying-")
    try:
        with os.fdopen(handle, "wb") as output:
            shutil.copyfileobj(content, output)
            os.fchmod(output.fileno(), 0o644)
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
