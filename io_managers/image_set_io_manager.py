"""The IO manager of image sets."""

from functools import partial
from typing import Any

from dagster import (
    ConfigurableIOManager,
    InputContext,
    MetadataValue,
    OutputContext,
    ResourceDependency,
    TableColumn,
    TableSchema,
)

from io_managers.image_set import ImageSet, ImageStream, ManifestRow, Status, manifest_schema, read_image_set
from io_managers.image_set_writer import ImageSetWriter, WriteReport
from io_managers.live_progress import publish_progress
from io_managers.outages import outages_retried
from io_managers.progress_log import ProgressLog
from io_managers.text_table import text_table
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource


class ImageSetIOManager(ConfigurableIOManager):
    """Pulls an asset's stream of pictures into the object store; hands the next asset a lazy view of them.

    One manifest per asset and catalog. See `ImageSetWriter` for what a run that ends early leaves behind.
    """

    object_store: ResourceDependency[ObjectStoreResource]
    settings: ResourceDependency[SettingsResource]
    progress_every_s: float = 8.0

    def handle_output(self, context: OutputContext, obj: ImageStream) -> None:
        """Compute, encode and store the pictures of one catalog, then the manifest; report what was done as metadata.

        The run's log has a line on how far it is every `progress_every_s`.
        """
        asset, pictures = context.asset_key.path[-1], self.settings.current.pictures
        with outages_retried(context), self._progress(context, obj) as progress:
            store = self.object_store.store
            writer = ImageSetWriter(store, workers=pictures.upload_workers, queue=pictures.upload_queue)
            report = writer.write(asset, obj, progress.count)
        context.add_output_metadata(describe(report, self.object_store.uri(report.manifest)))

    def _progress(self, context: OutputContext, stream: ImageStream) -> ProgressLog:
        asset, store = context.asset_key.path[-1], self.object_store.store
        tell = partial(publish_progress, store, stream.catalog, asset)
        return ProgressLog(context.log.info, asset, stream.total, self.progress_every_s, tell)

    def load_input(self, context: InputContext) -> ImageSet:
        """The upstream asset's pictures of the same catalog. Raises ObjectNotFoundError before its first run."""
        with outages_retried(context):
            return read_image_set(self.object_store.store, context.asset_key.path[-1], context.asset_partition_key)


def describe(report: WriteReport, uri: str) -> dict[str, Any]:
    """A run's metadata.

    Where the manifest is, its columns and first rows, counts by status, seconds by stage, releases, bytes, and a
    contact sheet.
    """
    counts = {str(status): report.counts[status] for status in Status}
    seconds = {f"{stage}_s": round(spent_s, 3) for stage, spent_s in report.seconds.items()}
    described: dict[str, Any] = {
        "manifest": report.manifest,
        "dagster/uri": uri,
        "dagster/partition_row_count": report.counts.total(),
        "dagster/column_schema": TableSchema([TableColumn(one.name, str(one.type)) for one in manifest_schema()]),
        **counts,
        **seconds,
        "model_releases": MetadataValue.json(report.releases),
        "bytes": report.size_bytes,
        "preview": text_table(("row", "status", "picture", "model", "text"), map(_shown, report.first)),
    }
    if report.contact_sheet:
        described["contact_sheet"] = MetadataValue.md(report.contact_sheet)
    if report.failed:
        shown = ((row.row_id, row.error) for row in report.failed)
        described["failures"] = text_table(("row", "error"), shown)
    return described


def _shown(row: ManifestRow) -> tuple[str, ...]:
    picture = f"{row.width_px}×{row.height_px} {row.format}" if row.key else ""
    return row.row_id, row.status, picture, row.model, row.text
