"""What Dagster's pages say of a catalog beside its pictures: who answers for it, when it is due, when it is stale."""

import time
from typing import Any

from dagster import MetadataValue

from configs.settings import Settings
from ops.catalog.problems import CatalogError
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.schedules import catalog_freshness_hours, catalog_schedules
from sensors.catalog_schedule import next_due


def catalog_facts(settings: Settings, catalogs: RegisteredCatalogs, catalog: str, made_at_s: float) -> dict[str, Any]:
    """Metadata: `owner`, `published`, `schedule` with `next_due`, and `stale_from`; what is not said is left out."""
    try:
        review = catalogs.get(catalog).review
    except CatalogError:  # retired since the run began
        return {}
    facts: dict[str, Any] = {"owner": review.owner} if review.owner else {}
    if review.required:
        facts["published"] = "once approved"
    due = [(next_due(one), one) for name, one in catalog_schedules(settings, catalogs) if name == catalog]
    if due:
        at, schedule = min(due, key=lambda one: one[0])
        facts["schedule"] = f"{schedule.cron} {schedule.timezone}, {schedule.policy}"
        facts["next_due"] = MetadataValue.timestamp(at.timestamp())
    hours = catalog_freshness_hours(settings, catalogs, catalog)
    if hours:
        facts["stale_from"] = MetadataValue.timestamp((made_at_s or time.time()) + hours * 3600)
    return facts
