"""The object store as a Dagster resource."""

from dagster import ConfigurableResource
from pydantic import PrivateAttr

from configs.settings import load_settings
from resources.object_store import ObjectStore
from resources.open_store import open_store


class ObjectStoreResource(ConfigurableResource["ObjectStoreResource"]):
    """The store that the settings name, for ops, assets and IO managers.

    Definitions load without reading settings or reaching the store: both happen at the first use of `store`, once per
    run and step, and a store that does not work then fails that step with what to do. Nothing about the store, and no
    secret, is part of Dagster's run configuration.
    """

    _store: ObjectStore | None = PrivateAttr(default=None)

    @property
    def store(self) -> ObjectStore:
        """The checked store; its bucket or folder exists."""
        if self._store is None:
            store = open_store(load_settings().store)
            store.check()
            self._store = store
        return self._store
