"""The end of a catalog's way: its approved pictures, delivered."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec, AssetExecutionContext, AssetKey, MaterializeResult, asset

from imagegenx_assets.partitions import CATALOGS
from io_managers.outages import outages_retried
from ops.catalog.home_folder import open_catalogs
from ops.checks.result import check_result
from ops.review.catalog_view import CatalogViews
from ops.review.export import export_catalog
from ops.review.progress import outcome, reviews
from resources.dagster_names import OWNERS, PUBLISHED_IMAGES, REVIEWED, THUMBNAILS, WATERMARKED_IMAGES
from resources.object_store_resource import ObjectStoreResource, object_uri
from resources.settings_resource import SettingsResource

PUBLISHED = "published/"
"""Where the pictures of each catalog are, below a folder of its name; nobody's garbage."""


@asset(
    name=PUBLISHED_IMAGES,
    deps=[AssetKey(WATERMARKED_IMAGES), AssetKey(THUMBNAILS)],
    group_name="published",
    owners=OWNERS,
    kinds={"webp"},
    partitions_def=CATALOGS,
    check_specs=[
        AssetCheckSpec(
            REVIEWED,
            asset=PUBLISHED_IMAGES,
            description="Every picture of the catalogs with `review: required` has a verdict; says who is asked.",
        )
    ],
)
def published_images(
    context: AssetExecutionContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """A catalog's approved pictures as `<id>.<ext>`, with `results.csv`: its table, and what became of each row.

    Materialized by the sensor `reviews` once every picture of a catalog with `review: required` has a verdict, and
    again when verdicts or pictures change; only what has changed is written.
    """
    with outages_retried(context):
        store, prefix = object_store.store, f"{PUBLISHED}{context.partition_key}/"
        catalogs = open_catalogs(settings.current, store)
        uri = partial(object_uri, settings.current.store)
        done = export_catalog(catalogs, context.partition_key, store, prefix, uri)
        found = check_result({REVIEWED: outcome(reviews(catalogs, CatalogViews(store)))})
    metadata: dict[str, Any] = {"dagster/uri": uri(prefix), "dagster/partition_row_count": done.pictures}
    changes = {"written": done.written, "kept": done.kept, "removed": done.removed}
    yield MaterializeResult(metadata={**metadata, **changes, **done.counts})
    yield found
