"""Which catalogs have schedules: those of the settings, and those that registered catalogs bring along."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from configs.settings import Settings
from ops.catalog.document import read_document
from ops.catalog.folder import registered_files
from ops.catalog.problems import ProblemList
from ops.catalog.rows import CatalogSchedule

_YAML = (".yaml", ".yml")
_REMEMBERED = 20_000


def catalog_schedules(settings: Settings) -> Iterator[tuple[str, CatalogSchedule]]:
    """(catalog, schedule) of each; a catalog that the settings schedule follows them, not its own file.

    Files in the catalog folder that were not registered may be anything; they have none.
    """
    for one in settings.schedules:
        yield one.catalog, CatalogSchedule(one.cron, one.timezone, one.policy)
    named = {one.catalog for one in settings.schedules}
    for name, file in registered_files(settings.catalog_folder):
        if file.suffix.lower() in _YAML and name not in named and (schedule := _schedule(file)):
            yield name, schedule


def _schedule(file: Path) -> CatalogSchedule | None:
    try:
        stat = file.stat()
        return _own_schedule(file, stat.st_size, stat.st_mtime_ns)
    except (OSError, UnicodeDecodeError):  # replaced since the folder was read, or not registered
        return None


@lru_cache(maxsize=_REMEMBERED)
def _own_schedule(file: Path, size_bytes: int, changed_ns: int) -> CatalogSchedule | None:
    """The schedule of a registered catalog; read again only when the file is another one."""
    text = file.read_text(encoding="utf-8-sig")
    if "schedule" not in text:
        return None
    problems = ProblemList()
    schedule = read_document(text, problems).schedule
    return None if problems.total else schedule
