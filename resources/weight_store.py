"""Weights of models in the object store, or in a bucket beside it at the same service."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from configs.settings import Settings, StoreSettings
from models.errors import ModelLoadError
from models.hub import fetch_part
from models.registry import ModelRegistry, open_registry
from models.remote_files import RemotePart
from resources.object_store import ObjectStore
from resources.open_store import open_store

_STORE, _S3 = "store:", "s3://"


@dataclass(frozen=True)
class StoredWeights:
    """See `WeightStore`."""

    store: ObjectStore

    def size_bytes(self, key: str) -> int | None:
        """See `WeightStore.size_bytes`."""
        found = self.store.stat(key)
        return found.size_bytes if found else None

    def read(self, key: str, start: int) -> Iterator[bytes]:
        """See `WeightStore.read`."""
        return self.store.read(key, start)


@dataclass(frozen=True)
class PlaceOpener:
    """See `OpenPlace`: `store:KEY` is in the configured store, `s3://BUCKET/KEY` in any bucket of its service."""

    settings: StoreSettings

    def __call__(self, place: str) -> tuple[StoredWeights, str]:
        """Open the store of a place. Raises ModelLoadError if the settings name no service for it."""
        if place.startswith(_STORE):
            return StoredWeights(_opened(self.settings)), place.removeprefix(_STORE).lstrip("/")
        bucket, _, key = place.removeprefix(_S3).partition("/")
        if self.settings.kind != "s3" or not bucket or not key:
            rule = "a bucket and a key, and store.kind s3 with the endpoint and the keys of its service"
            raise ModelLoadError(f"{place} needs {rule}. In the configured store, name it store:KEY.")
        return StoredWeights(_opened(self.settings.model_copy(update={"bucket": bucket, "prefix": ""}))), key


@lru_cache(maxsize=8)
def _opened(settings: StoreSettings) -> ObjectStore:
    return open_store(settings)


def fetch_upscaler(settings: Settings) -> None:
    """Fetch the upscaling network that the settings name in a store, unless it is here.

    Raises:
        ModelLoadError: if it cannot be had.
    """
    if settings.upscaler_source:
        place, _, sha256 = settings.upscaler_source.partition("#")
        fetch_part(RemotePart(place, sha256, settings.upscaler.parent), PlaceOpener(settings.store))


def open_loading_registry(settings: Settings) -> ModelRegistry:
    """The registry for a process that loads models: what they lack is fetched from the stores that their cards name."""
    return open_registry(settings, PlaceOpener(settings.store))
