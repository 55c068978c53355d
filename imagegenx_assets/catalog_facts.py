"""What Dagster's pages say of a catalog: who answers for it, when it is due and stale, and of its gallery."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from dagster import MetadataValue

from configs.settings import Settings
from ops.catalog.problems import CatalogError
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.schedules import catalog_freshness_hours, catalog_schedules
from ops.gallery_page import PublishedGallery
from resources.object_store_resource import ObjectStoreResource
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


def described(
    published: PublishedGallery, object_store: ObjectStoreResource, page_url: str, *, links_live_s: int
) -> dict[str, Any]:
    """The metadata of the asset `gallery`.

    A page in a local store is given by its path, since browsers open no `file://` links of other pages; elsewhere it is
    a presigned link, and until when it works.

    Args:
        page_url: where the gateway shows the catalog, for as long as there is one.
        links_live_s: life of presigned links.
    """
    link = urlparse(object_store.store.url(published.page))
    metadata: dict[str, Any] = {
        "review": MetadataValue.url(page_url),
        "page": published.page,
        "dagster/uri": object_store.uri(published.page),
        "dagster/partition_row_count": published.rows,
        "pictures": published.pictures,
        "bytes": published.bytes,
        "contact_sheet_file": published.contact_sheet,
        "contact_sheet": MetadataValue.md(published.preview),
    }
    if link.scheme == "file":
        return {"gallery": MetadataValue.path(Path(url2pathname(link.path))), **metadata}
    works_until = MetadataValue.timestamp(time.time() + links_live_s)
    return {"gallery": MetadataValue.url(link.geturl()), "gallery_link_works_until": works_until, **metadata}
