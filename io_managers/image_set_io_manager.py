"""The IO manager of image sets."""

from dagster import ConfigurableIOManager, InputContext, MetadataValue, OutputContext, ResourceDependency
from dagster._core.definitions.metadata import RawMetadataValue

from io_managers.image_set import ImageSet, ImageStream, Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter, WriteReport
from io_managers.reuse import ReadLast
from io_managers.text_table import text_table
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource

SHOWN_FAILURES = 20


class ImageSetIOManager(ConfigurableIOManager):
    """Pulls an asset's stream of pictures into the object store; hands the next asset a lazy view of them.

    One manifest per asset and catalog. See `ImageSetWriter` for what a run that ends early leaves behind.
    """

    object_store: ResourceDependency[ObjectStoreResource]
    settings: ResourceDependency[SettingsResource]

    def store(self, asset: str, stream: ImageStream, last: ReadLast | None = None) -> dict[str, RawMetadataValue]:
        """Compute, encode and store every picture, then the manifest; returns what was done, as metadata."""
        pictures = self.settings.current.pictures
        writer = ImageSetWriter(self.object_store.store, workers=pictures.upload_workers, queue=pictures.upload_queue)
        return describe(writer.write(asset, stream, last))

    def load(self, asset: str, catalog: str) -> ImageSet:
        """A lazy view of an asset's pictures. Raises ObjectNotFoundError before its first run."""
        return read_image_set(self.object_store.store, asset, catalog)

    def handle_output(self, context: OutputContext, obj: ImageStream) -> None:
        """Store the pictures of one catalog; report what was done as metadata."""
        context.add_output_metadata(self.store(context.asset_key.path[-1], obj))

    def load_input(self, context: InputContext) -> ImageSet | dict[str, ImageSet]:
        """The upstream asset's pictures of the same catalog, or of each catalog of a run that has many."""
        asset, catalogs = context.asset_key.path[-1], context.asset_partition_keys
        loaded = {catalog: self.load(asset, catalog) for catalog in catalogs}
        return loaded if len(catalogs) > 1 else loaded[catalogs[0]]


def describe(report: WriteReport) -> dict[str, RawMetadataValue]:
    """A run's metadata: the manifest's key, counts by status, seconds by stage, releases, bytes and a contact sheet."""
    counts = {str(status): sum(row.status is status for row in report.rows) for status in Status}
    seconds = {f"{stage}_s": round(spent_s, 3) for stage, spent_s in report.seconds.items()}
    releases = {row.model: row.release for row in report.rows if row.release}
    described: dict[str, RawMetadataValue] = {
        "manifest": report.manifest,
        "dagster/row_count": len(report.rows),
        **counts,
        **seconds,
        "model_releases": MetadataValue.json(releases),
        "bytes": sum(row.size_bytes for row in report.rows),
    }
    if report.contact_sheet:
        described["contact_sheet"] = MetadataValue.md(report.contact_sheet)
    if failed := [row for row in report.rows if not row.status.has_picture]:
        shown = ((row.row_id, row.error) for row in failed[:SHOWN_FAILURES])
        described["failures"] = text_table(("row", "error"), shown)
    return described
