"""Folders of this machine whose files all machines share, through the store: the logos and fonts of watermarks."""

import fcntl
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from configs.settings import Settings, StoreSettings
from foundation.private_folder import make_private
from models.digests import FileMark
from models.visible_files import visible_files
from resources.object_store import ObjectNotFoundError, ObjectStore, StoredObject
from resources.open_store import open_store

logger = logging.getLogger(__name__)

LOGOS, FONTS = "registry/logos/", "registry/fonts/"
"""Prefixes of the files of `settings.logo_folder` and `settings.fonts_folder` in the store."""
FRESH_S = 2.0
"""What other machines changed is looked for at most so often."""

_looked_at_s: dict[Path, float] = {}


def refresh_marks(settings: Settings) -> None:
    """See to it that this machine's logos and fonts are everybody's.

    Raises:
        StoreError: if the store cannot be used now.
    """
    for folder, prefix in ((settings.logo_folder, LOGOS), (settings.fonts_folder, FONTS)):
        if time.monotonic() - _looked_at_s.get(folder, -FRESH_S) >= FRESH_S:
            memory = settings.home / "cache" / "shared" / f"{prefix.strip('/').replace('/', '-')}.json"
            SharedFolder(folder, _opened(settings.store), prefix, memory).sync()
            _looked_at_s[folder] = time.monotonic()


@dataclass(frozen=True)
class _Synced:
    """A file as it was when folder and store last agreed: its mark here, and the etag of its object."""

    mark: FileMark
    etag: str


@dataclass(frozen=True)
class SharedFolder:
    """A folder that is kept equal to the objects below a prefix; what people change in it is changed for all machines.

    Where both sides changed, what was edited here wins; where they never met, the store does. A folder that is gone or
    empty is a lost cache and is filled again: it removes nothing from the store.

    Args:
        memory: the file that remembers what they agreed on.
    """

    folder: Path
    store: ObjectStore
    prefix: str
    memory: Path

    def sync(self) -> None:
        """Bring changes of either side to the other; one process of this machine at a time."""
        if not self.folder.is_dir() and next(iter(self.store.list(self.prefix)), None) is None:
            return
        with self._locked():
            there = {found.key.removeprefix(self.prefix): found for found in self.store.list(self.prefix)}
            here = dict(self._marks())
            before = self._read() if here else {}
            after = {}
            for place in sorted({*here, *there, *before}):
                synced = self._settle(place, here.get(place), there.get(place), before.get(place))
                if synced:
                    after[place] = synced
            if after != before:
                self._write(after)

    def _settle(
        self, place: str, here: FileMark | None, there: StoredObject | None, before: _Synced | None
    ) -> _Synced | None:
        """Bring one file to where it is missing or old; returns what both sides have now, None if neither has it."""
        is_edited = here is not None and (before is None or before.mark != here)
        is_replaced = there is not None and (before is None or before.etag != there.etag)
        if here and there:
            if is_edited and before:
                return self._publish(place, here)
            return self._fetch(place) if is_edited or is_replaced else before
        if here and is_edited:
            return self._publish(place, here)
        if here:
            (self.folder / place).unlink(missing_ok=True)
        elif there and (is_replaced or before is None):
            return self._fetch(place)
        elif there:
            self.store.delete(self.prefix + place)
        return None

    def _publish(self, place: str, mark: FileMark) -> _Synced:
        data = (self.folder / place).read_bytes()
        stored = self.store.put(self.prefix + place, data, content_type="application/octet-stream")
        return _Synced(mark, stored.etag)

    def _fetch(self, place: str) -> _Synced | None:
        target = self.folder / place
        try:
            found, data = self.store.stat(self.prefix + place), self.store.get(self.prefix + place)
        except ObjectNotFoundError:
            return None
        assert found
        if not target.is_file() or target.read_bytes() != data:
            make_private(target.parent)
            partial = target.with_name(f".{uuid4().hex}.part")
            partial.write_bytes(data)
            partial.replace(target)
        return _Synced(FileMark.of(target), found.etag)

    def _marks(self) -> Iterator[tuple[str, FileMark]]:
        for file in visible_files(self.folder, deep=True):
            with suppress(FileNotFoundError):
                yield file.relative_to(self.folder).as_posix(), FileMark.of(file)

    def _read(self) -> dict[str, _Synced]:
        try:
            known = json.loads(self.memory.read_text(encoding="utf-8"))
            return {place: _Synced(FileMark(*mark), etag) for place, (mark, etag) in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self, synced: dict[str, _Synced]) -> None:
        partial = self.memory.with_name(f"{self.memory.name}-{uuid4().hex}.part")
        text = json.dumps({place: [one.mark, one.etag] for place, one in synced.items()})
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.memory)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_private(self.memory.parent)
        with self.memory.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@lru_cache(maxsize=4)
def _opened(settings: StoreSettings) -> ObjectStore:
    return open_store(settings)
