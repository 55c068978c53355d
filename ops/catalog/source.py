"""Where catalogs come from: a watched folder, or a watched key prefix of the object store."""

import hashlib
import mimetypes
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from foundation.error_text import cause_text
from models.digests import FileMark
from models.visible_files import is_hidden, visible_files
from ops.catalog.endings import MAX_BYTES, OTHER_TABLES, size_rule
from ops.catalog.inside import LeadsOutError, open_inside
from ops.catalog.problems import CatalogError, CatalogHeldUpError
from ops.catalog.reading import catalog_name
from ops.catalog.registered import RegisteredCatalogs
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore, StoreAccessError

PROBLEMS = ".problems.txt"
"""After the name of a refused file: the file beside it that says what is wrong."""

_MARK_LETTERS = 32
"""Of a digest in hex; sensors remember a mark for each file."""

_OF_ONE_OBJECT = (ObjectNotFoundError, StoreAccessError, InvalidKeyError)
"""Errors that another object may be spared: a prefix that cannot be listed is met before."""


class CatalogSource(Protocol):
    """Files named like catalogs.

    `is_atomic`: a file that is seen is whole. Elsewhere it may still be being written.
    """

    @property
    def is_atomic(self) -> bool: ...

    @property
    def is_there(self) -> bool:
        """Whether it can be looked at; what is away holds no catalogs, but has lost none either."""
        ...

    def marks(self) -> Iterator[tuple[str, str]]:
        """(file name, mark) of each catalog; the mark changes when the content, or a picture it names, does."""
        ...

    def fetch(self, file_name: str, folder: Path) -> tuple[Path, Path]:
        """A copy of the file in `folder`, and the folder in which the pictures are looked for that it names.

        Raises:
            CatalogError: if this file cannot be had; the others may be.
        """
        ...

    def tell(self, file_name: str, problems: str) -> None:
        """Say beside a file what is wrong with it; "" takes back what was said."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """The catalog files of a folder, and what people may have put there for one: it is refused, with the reason.

    That are other files, except pictures, and folders with catalogs in them. Hidden files, tables that a catalog's rows
    come from, and folders of pictures are passed over.

    Args:
        catalogs: know the files that each catalog named when it was taken.
    """

    folder: Path
    catalogs: RegisteredCatalogs
    is_atomic: bool = False

    def __str__(self) -> str:
        return f"the watched folder {self.folder}"

    @property
    def is_there(self) -> bool:
        """See `CatalogSource.is_there`: a share that is not mounted is not."""
        return self.folder.is_dir()

    def marks(self) -> Iterator[tuple[str, str]]:
        """See `CatalogSource.marks`: the digest of the content, and the pictures' `FileMark`s.

        The folder is made if it is new, so that there is something to drop files into. A name that is not UTF-8 is told
        with U+FFFD in the places of its stray bytes, which no catalog's name may have.
        """
        with suppress(OSError):
            self.folder.mkdir(exist_ok=True)
        named = {one.name: one.files for one in self.catalogs.all()}
        taken = {reference for references in named.values() for reference in references}
        for file in _entries(self.folder, taken):
            name = os.fsencode(file.name).decode("utf-8", "replace")
            try:
                yield (f"{name}/", "folder") if file.is_dir() else (name, self._mark(file, named.get(file.stem, {})))
            except FileNotFoundError:
                continue  # gone since the folder was read
            except LeadsOutError:
                yield name, "link"
            except OSError as exc:
                yield name, f"unreadable: {exc.strerror}"

    def fetch(self, file_name: str, folder: Path) -> tuple[Path, Path]:
        """See `CatalogSource.fetch`; what is no catalog by its ending or its size is not copied."""
        if file_name.endswith("/"):
            rule = "catalogs in folders are not looked at; put their files directly into the watched folder"
            raise CatalogError(file_name[:80], rule)
        file = folder / file_name
        try:
            if _is_catalog(file_name):
                with open_inside(self.folder, file_name) as content, file.open("wb") as copy:
                    if rule := size_rule(file, os.fstat(content.fileno()).st_size):
                        raise CatalogError(catalog_name(file), rule)
                    shutil.copyfileobj(content, copy)
        except LeadsOutError as exc:
            raise CatalogError(catalog_name(file), f"{exc}; put the file itself there") from exc
        except OSError as exc:
            raise CatalogError(catalog_name(file), f"the file cannot be read: {cause_text(exc)}") from exc
        return file, self.folder

    def tell(self, file_name: str, problems: str) -> None:
        """See `CatalogSource.tell`; nothing is said in a folder that may only be read.

        The note takes the place of what has its name; a link there is not followed.
        """
        note = self.folder / f"{file_name.rstrip('/')}{PROBLEMS}"
        with suppress(OSError):
            if problems:
                _put(note, f"{problems}\n")
            else:
                note.unlink(missing_ok=True)

    def _mark(self, file: Path, named: Iterable[str]) -> str:
        with open_inside(self.folder, file.name) as content:
            stat = os.fstat(content.fileno())
            if size_rule(file, stat.st_size):
                return f"too large: {stat.st_size} {stat.st_mtime_ns}"
            digest = hashlib.file_digest(content, "sha256")
        for original in (self.folder / reference for reference in sorted(named)):
            if original.is_file():
                digest.update(f"\n{original}\0{FileMark.of(original)}".encode())
        return digest.hexdigest()[:_MARK_LETTERS]


@dataclass(frozen=True)
class BucketSource:
    """The catalog files directly below a key prefix, and what people may have put there for one: it is refused.

    Rows name pictures by whole keys; pictures may lie below the prefix too.
    """

    store: ObjectStore
    prefix: str
    is_atomic: bool = True
    is_there: bool = True

    def __str__(self) -> str:
        return f"the watched prefix '{self.prefix}'"

    def marks(self) -> Iterator[tuple[str, str]]:
        """See `CatalogSource.marks`: the objects' etags."""
        for found in self.store.list(self.prefix):
            name = found.key[len(self.prefix) :]
            if _is_catalog(name) if "/" in name else _is_for_us(name):
                yield name, f"etag:{found.etag}"

    def fetch(self, file_name: str, folder: Path) -> tuple[Path, Path]:
        """See `CatalogSource.fetch`; what is too large for a catalog is not fetched."""
        if "/" in file_name:
            rule = f"it lies deeper than the watched prefix; put it directly below '{self.prefix}'"
            raise CatalogError(file_name[:80], rule)
        file, key = folder / file_name, f"{self.prefix}{file_name}"
        if not _is_catalog(file_name):
            return file, folder
        try:
            found = self.store.stat(key)
            if found and (rule := size_rule(file, found.size_bytes)):
                raise CatalogError(catalog_name(file), rule)
            file.write_bytes(self.store.get(key))
        except (*_OF_ONE_OBJECT, OSError) as exc:
            raise CatalogHeldUpError(catalog_name(file), f"cannot be fetched: {exc}") from exc
        return file, folder

    def tell(self, file_name: str, problems: str) -> None:
        """See `CatalogSource.tell`; nothing is said below a prefix that may only be read."""
        key = f"{self.prefix}{file_name}{PROBLEMS}"
        with suppress(*_OF_ONE_OBJECT):
            if problems:
                self.store.put(key, f"{problems}\n".encode(), content_type="text/plain; charset=utf-8")
            else:
                self.store.delete(key)


def _put(file: Path, text: str) -> None:
    """Write beside the file's place, and move it there."""
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=".problems-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            os.fchmod(handle, 0o644)
        Path(partial).replace(file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _entries(folder: Path, taken: Set[str]) -> Iterator[Path]:
    """Catalogs, then what was put there for one; other catalogs' files (`taken`) are neither."""
    found = [path for path in sorted(folder.iterdir()) if not is_hidden(path)] if folder.is_dir() else []
    files = [path for path in found if _is_file(path) and path.name not in taken]
    catalogs = [file for file in files if _is_catalog(file.name)]
    yield from catalogs
    saved = {file.stem for file in catalogs}
    for file in files:
        is_saved = file.suffix.lower() in OTHER_TABLES and file.stem in saved
        if _is_for_us(file.name) and file not in catalogs and not is_saved:
            yield file
    yield from (path for path in found if path.is_dir() and _has_catalogs(path, taken))


def _has_catalogs(folder: Path, taken: Set[str]) -> bool:
    try:
        inside = (file for file in visible_files(folder, deep=True) if _is_catalog(file.name))
        return any(file.relative_to(folder.parent).as_posix() not in taken for file in inside)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """What cannot be looked at is there all the same, and is refused rather than gone."""
    try:
        return path.is_file()
    except OSError:
        return True


def _is_catalog(name: str) -> bool:
    return not is_hidden(Path(name)) and Path(name).suffix.lower() in MAX_BYTES


def _is_for_us(name: str) -> bool:
    """Whether a file was put there for us to read: not a picture, which rows may name, and no note of ours."""
    kind = mimetypes.guess_type(name)[0] or ""
    return not (is_hidden(Path(name)) or name.endswith(PROBLEMS) or kind.startswith("image/"))
