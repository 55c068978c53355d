"""Which files of a folder of this machine have been taken into the store, so that only news is."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from configs.settings import StoreSettings
from foundation.private_folder import make_private
from models.digests import FileMark


class TakenFiles:
    """The marks of the files of one folder as they were taken, by their paths in it; a cache in the home folder.

    Without it, or for another store, files count as never taken.
    """

    def __init__(self, home: Path, name: str, store: StoreSettings) -> None:
        self._file = home / "cache" / "taken" / f"{name}.json"
        self._store = f"{store.endpoint}/{store.bucket}/{store.prefix}" if store.kind == "s3" else str(store.path)
        self.marks = self._read()

    def __contains__(self, place: object) -> bool:
        """Whether a file of this path was taken, as it is now or as it was."""
        return place in self.marks

    def news(self, folder: Path, files: Iterable[Path]) -> Iterator[tuple[str, Path, FileMark]]:
        """(path in the folder, file, mark) of each file that was not taken as it is now."""
        for file in files:
            place = file.relative_to(folder).as_posix()
            with suppress(FileNotFoundError):
                if self.marks.get(place) != (mark := FileMark.of(file)):
                    yield place, file, mark

    def keep(self) -> None:
        """Write down what `marks` holds now; a home that may only be read forgets it."""
        with suppress(OSError):
            make_private(self._file.parent)
            partial = self._file.with_name(f"{self._file.name}-{uuid4().hex}.part")
            partial.write_text(json.dumps([self._store, self.marks]), encoding="utf-8")
            partial.replace(self._file)

    def _read(self) -> dict[str, FileMark]:
        try:
            store, marks = json.loads(self._file.read_text(encoding="utf-8"))
            return {place: FileMark(*mark) for place, mark in marks.items()} if store == self._store else {}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
