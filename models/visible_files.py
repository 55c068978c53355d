"""What people put into a folder, without what systems and editors leave there."""

from collections.abc import Iterator
from pathlib import Path

_LOCK_OF_OFFICE = "~$"


def is_hidden(path: Path) -> bool:
    """Whether a name says that it is not for users.

    `._x` (macOS on foreign disks), `.#x` (an editor's lock), `.git`, `.ipynb_checkpoints`, `.DS_Store`, `~$x` (Office).
    """
    return path.name.startswith((".", _LOCK_OF_OFFICE))


def visible_files(folder: Path, *, deep: bool = False) -> Iterator[Path]:
    """The files of a folder in order, hidden ones left out; none if there is no such folder.

    Links are followed; one that leads nowhere is no file.

    Args:
        deep: those of the folders in it too, unless hidden, each once on a way that leads in a circle.
    Raises:
        OSError: if the folder cannot be read.
    """
    return _visible(folder, deep, frozenset())


def _visible(folder: Path, deep: bool, above: frozenset[Path]) -> Iterator[Path]:
    if not folder.is_dir() or (real := folder.resolve()) in above:
        return
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_file():
            yield path
        elif deep:
            yield from _visible(path, deep, above | {real})
