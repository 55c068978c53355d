"""Opening the store that the settings name."""

from configs.settings import StoreSettings
from resources.local_store import LocalObjectStore
from resources.object_store import ObjectStore


def open_store(settings: StoreSettings) -> ObjectStore:
    """The configured store. Reaches nothing yet: problems show in the first call, or in `check`."""
    if settings.kind == "s3":
        from resources.s3_store import S3ObjectStore  # minio takes a quarter of a second to import

        return S3ObjectStore(settings)
    return LocalObjectStore(settings.path)
