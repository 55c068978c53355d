"""The object store made of files: one folder, one file per object."""

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

from resources.object_store import (
    CHECK,
    CHUNK_BYTES,
    TEMP_FOLDER,
    InvalidKeyError,
    ObjectNotFoundError,
    StoreAccessError,
    StoredObject,
    StoreError,
    StoreUnavailableError,
    check_expiry,
    check_key,
    check_prefix,
    is_key,
)

logger = logging.getLogger(__name__)

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NAME_CLASHES = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}


class LocalObjectStore:
    """An object store in a folder of this machine (or a shared one with POSIX locks).

    An object is written to a file in the store's temporary folder, synced, and renamed to its place, so that a reader
    or a power cut meets the old object or the new one. The writer holds a lock (flock) on that file; the system drops
    the lock when the process dies, which is how the next process knows leftovers from files still being written.

    Unlike S3, 'a' and 'a/b' cannot both be objects, and a file system that ignores case does so for keys.
    Content types are not kept: a web server derives them from the file's ending.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._temp_folder = self.root / TEMP_FOLDER
        self._swept = False

    def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Write the object; synced to disk when this returns."""
        path = self._path(key)
        with self._explained(key), self._temp_file() as (descriptor, temp):
            _write(descriptor, data)
            _make_folder(path.parent)
            temp.replace(path)
            _sync_folder(path.parent)
            return _stored(key, os.fstat(descriptor))

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        path = self._path(key)
        with self._explained(key):
            try:
                return path.read_bytes()
            except _ABSENT as exc:
                raise ObjectNotFoundError(key, str(self.root)) from exc

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The object's bytes, as they come from the disk."""
        path = self._path(key)
        with self._explained(key):
            try:
                file = path.open("rb")
            except _ABSENT as exc:
                raise ObjectNotFoundError(key, str(self.root)) from exc
            with file:
                file.seek(start)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    def stat(self, key: str) -> StoredObject | None:
        """Size and etag, from the file system."""
        path = self._path(key)
        with self._explained(key):
            try:
                status = path.stat()
            except _ABSENT:
                return None
        return _stored(key, status) if S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Walk the folders that can hold such keys; objects written or deleted meanwhile may or may not appear."""
        check_prefix(prefix)
        self._sweep()
        return self._walk("", prefix)

    def delete(self, key: str) -> None:
        """Remove the file; folders stay."""
        path = self._path(key)
        with self._explained(key):
            try:
                if not path.is_dir():
                    path.unlink()
                    _sync_folder(path.parent)
            except _ABSENT:
                return

    def url(self, key: str, expires_s: int | None = None, *, download_as: str = "") -> str:
        """The file's URI; it does not expire, but `expires_s` is checked as any store does."""
        if expires_s is not None:
            check_expiry(expires_s)
        return self._path(key).as_uri()

    def check(self) -> None:
        """Make the folder, and write and remove a file in it."""
        self._sweep()
        with self._explained(""), self._temp_file() as (descriptor, _):
            _write(descriptor, CHECK)  # a full disk has room for a file's name

    def _path(self, key: str) -> Path:
        check_key(key)
        self._sweep()
        path = self.root / key
        with self._explained(key):
            self._refuse_links(path)
        return path

    def _refuse_links(self, path: Path) -> None:
        for step in (path, *path.parents):
            if step == self.root:
                return
            if step.is_symlink():
                raise StoreAccessError(
                    f"{step} is a symbolic link, and the store follows none below its folder. "
                    "Replace the link by what it points to, or choose another key."
                )

    @contextmanager
    def _temp_file(self) -> Iterator[tuple[int, Path]]:
        """A new locked file in the temporary folder: its descriptor and path. Removed unless renamed."""
        _make_folder(self._temp_folder)
        descriptor, temp = self._create_locked()
        try:
            yield descriptor, temp
        finally:
            temp.unlink(missing_ok=True)
            os.close(descriptor)

    def _create_locked(self) -> tuple[int, Path]:
        while True:
            temp = self._temp_folder / f"{os.getpid()}-{uuid.uuid4().hex}"
            descriptor = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor, temp
            os.close(descriptor)  # another process's sweep took it before it was locked

    def _sweep(self) -> None:
        """Once per store: remove the files whose writers died before renaming them."""
        if self._swept:
            return
        self._swept = True
        try:
            with os.scandir(self._temp_folder) as entries:
                for entry in entries:
                    _remove_if_abandoned(Path(entry.path))
        except FileNotFoundError:
            return
        except OSError as exc:  # housekeeping only: a store that may only be read must still be readable
            logger.warning("unfinished writes in %s stay: %s", self._temp_folder, exc)

    def _walk(self, folder: str, prefix: str) -> Iterator[StoredObject]:
        """Objects below `folder` ('' or ending in '/') whose key starts with `prefix`, in order of keys."""
        for entry in self._entries(folder):
            key = folder + _sortable(entry)
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix) and is_key(key) and entry.is_file(follow_symlinks=False):
                try:
                    yield _stored(key, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue

    def _entries(self, folder: str) -> Iterator["os.DirEntry[str]"]:
        with self._explained(folder):
            try:
                with os.scandir(self.root / folder) as entries:
                    found = [entry for entry in entries if folder or entry.name != TEMP_FOLDER]
            except FileNotFoundError:
                return
        yield from sorted(found, key=lambda entry: os.fsencode(_sortable(entry)))

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        if self.root.is_symlink() and not self.root.is_dir():
            raise StoreUnavailableError(
                f"store folder {self.root}: it is a link to {self.root.readlink()}, which is not there. "
                "Mount that disk, or set IMAGEGENX_STORE__PATH to another."
            )
        try:
            yield
        except OSError as exc:
            raise self._error(exc, key) from exc

    def _error(self, exc: OSError, key: str) -> StoreError:
        reason = exc.strerror or type(exc).__name__
        if exc.errno in _NAME_CLASHES and key and self.root.is_dir():
            return InvalidKeyError(key, f"in {self.root}, a folder and an object would share a name ({reason})")
        if exc.errno == errno.ENAMETOOLONG:
            return InvalidKeyError(key, f"too long for the file system of {self.root}")
        where = f"store folder {self.root}: {reason} ({exc.filename or 'while writing'})."
        if exc.errno in _REFUSALS | _NAME_CLASHES:
            return StoreAccessError(
                f"{where} Let this user read and write there, or set IMAGEGENX_STORE__PATH to a folder where it may."
            )
        return StoreUnavailableError(f"{where} Free or repair that disk, or set IMAGEGENX_STORE__PATH to another.")


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it; synced to disk when this returns."""
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.fsync(descriptor)


def _sortable(entry: "os.DirEntry[str]") -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _stored(key: str, status: os.stat_result) -> StoredObject:
    etag = f"{status.st_ino:x}-{status.st_ctime_ns:x}-{status.st_size:x}"
    return StoredObject(key, status.st_size, etag, status.st_mtime)


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        logger.info("removed the unfinished write %s", path)
    except (BlockingIOError, FileNotFoundError):
        return  # still being written, or finished just now
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, for this user alone, each lasting through a power cut."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        _make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
