"""When catalogs are made: the schedules and freshness hours of the settings, and those that catalogs bring along."""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from configs.settings import Settings
from models.digests import FileMark
from ops.catalog.decoding import decoded
from ops.catalog.document import read_times
from ops.catalog.folder import catalog_file, registered_files
from ops.catalog.problems import CatalogError, ProblemList
from ops.catalog.rows import CatalogSchedule, RawCatalog
from ops.catalog.yaml_file import YamlSyntaxError

_YAML = (".yaml", ".yml")
_REMEMBERED = 20_000
_NOTHING = RawCatalog(rows=())


def catalog_schedules(settings: Settings) -> Iterator[tuple[str, CatalogSchedule]]:
    """(catalog, schedule) of each; a catalog that the settings schedule follows them, not its own file.

    Files in the catalog folder that were not registered may be anything; they have none.
    """
    for one in settings.schedules:
        yield one.catalog, CatalogSchedule(one.cron, one.timezone, one.policy)
    named = {one.catalog for one in settings.schedules}
    for name, file in registered_files(settings.catalog_folder):
        if name not in named and (schedule := _own_times(file).schedule):
            yield name, schedule


def freshness_hours(settings: Settings) -> defaultdict[str, float]:
    """After how many hours each catalog is stale, 0 for never: those of the settings unless its own file says."""
    hours = defaultdict(lambda: settings.checks.freshness_hours)
    for name, file in registered_files(settings.catalog_folder):
        if (own := _own_times(file).freshness_hours) is not None:
            hours[name] = own
    return hours


def catalog_freshness_hours(settings: Settings, catalog: str) -> float:
    """As `freshness_hours`, of one catalog."""
    try:
        own = _own_times(catalog_file(settings.catalog_folder, catalog)).freshness_hours
    except CatalogError:  # retired since it was made
        own = None
    return settings.checks.freshness_hours if own is None else own


def _own_times(file: Path) -> RawCatalog:
    """What a file says of when it is made; its rows are not to be read."""
    if file.suffix.lower() not in _YAML:
        return _NOTHING
    try:
        return _read(file, FileMark.of(file))
    except OSError:  # replaced since the folder was read, or not registered
        return _NOTHING


@lru_cache(maxsize=_REMEMBERED)
def _read(file: Path, mark: FileMark) -> RawCatalog:
    """Read again only when the file is another one."""
    problems = ProblemList()
    text = decoded(file.read_bytes(), problems)
    if "schedule" not in text and "freshness_hours" not in text:
        return _NOTHING
    try:
        times = read_times(text, problems)
    except YamlSyntaxError:
        return _NOTHING
    return _NOTHING if problems.total else times
