"""The object store as a Dagster resource."""

from dagster import ConfigurableResource, ResourceDependency
from pydantic import PrivateAttr

from configs.settings import StoreSettings
from resources.object_store import ObjectStore
from resources.open_store import open_store
from resources.settings_resource import SettingsResource


class ObjectStoreResource(ConfigurableResource["ObjectStoreResource"]):
    """The store that the settings name, for ops, assets and IO managers.

    Definitions load without reading settings or reaching the store: both happen at the first use of `store`, once per
    run and step, and a store that does not work then fails that step with what to do. Nothing about the store, and no
    secret, is part of Dagster's run configuration.
    """

    settings: ResourceDependency[SettingsResource]
    _store: ObjectStore | None = PrivateAttr(default=None)

    @property
    def store(self) -> ObjectStore:
        """The checked store; its bucket or folder exists."""
        if self._store is None:
            store = open_store(self.settings.current.store)
            store.check()
            self._store = store
        return self._store

    def uri(self, key: str) -> str:
        """Where an object is, for people and other programs: an `s3://` or `file://` address that opens nothing."""
        return object_uri(self.settings.current.store, key)


def object_uri(store: StoreSettings, key: str) -> str:
    """See `ObjectStoreResource.uri`."""
    if store.kind == "local":
        return (store.path / key).absolute().as_uri()
    return "/".join(filter(None, ("s3:/", store.bucket, store.prefix.strip("/"), key)))
