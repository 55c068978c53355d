"""When catalogs are made: the schedules and freshness hours of the settings, and those that catalogs bring along."""

from collections import defaultdict
from collections.abc import Iterator

from configs.settings import Settings
from ops.catalog.problems import CatalogError
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.rows import CatalogSchedule


def catalog_schedules(settings: Settings, catalogs: RegisteredCatalogs) -> Iterator[tuple[str, CatalogSchedule]]:
    """(catalog, schedule) of each; a catalog that the settings schedule follows them, not its own file."""
    for one in settings.schedules:
        yield one.catalog, CatalogSchedule(one.cron, one.timezone, one.policy)
    named = {one.catalog for one in settings.schedules}
    for registered in catalogs.all():
        if registered.name not in named and registered.schedule:
            yield registered.name, registered.schedule


def freshness_hours(settings: Settings, catalogs: RegisteredCatalogs) -> defaultdict[str, float]:
    """After how many hours each catalog is stale, 0 for never: those of the settings unless its own file says."""
    hours = defaultdict(lambda: settings.checks.freshness_hours)
    for registered in catalogs.all():
        if registered.freshness_hours is not None:
            hours[registered.name] = registered.freshness_hours
    return hours


def catalog_freshness_hours(settings: Settings, catalogs: RegisteredCatalogs, catalog: str) -> float:
    """As `freshness_hours`, of one catalog."""
    try:
        own = catalogs.get(catalog).freshness_hours
    except CatalogError:  # retired since it was made
        own = None
    return settings.checks.freshness_hours if own is None else own
