"""The request queue as a Dagster resource."""

from dagster import ConfigurableResource, ResourceDependency
from pydantic import PrivateAttr

from resources.queue import RequestQueue, open_queue
from resources.settings_resource import SettingsResource


class RequestQueueResource(ConfigurableResource["RequestQueueResource"]):
    """The queue that the settings name, for the serving run and the queue sensor.

    Definitions load without reading settings or reaching Redis: both happen at the first use of `queue`. Nothing about
    Redis, and no password, is part of Dagster's run configuration.
    """

    settings: ResourceDependency[SettingsResource]
    _queue: RequestQueue | None = PrivateAttr(default=None)

    @property
    def queue(self) -> RequestQueue:
        """The queue; Redis has answered."""
        if self._queue is None:
            queue = open_queue(self.settings.current)
            queue.check()
            self._queue = queue
        return self._queue
