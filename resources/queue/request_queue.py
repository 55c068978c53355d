"""The request queue as one object."""

from configs.settings import Settings
from resources.queue.callbacks import CallbackBox
from resources.queue.callers import Callers
from resources.queue.claiming import Claiming
from resources.queue.jobs import PictureJobs
from resources.queue.link import RedisLink
from resources.queue.locks import Locks
from resources.queue.placements import Placements
from resources.queue.places import Places
from resources.queue.previews import Previews
from resources.queue.submitting import Submitting
from resources.queue.usage import UsageRecords
from resources.queue.waiting import Watching

_CHECK_KEPT_S = 60


class RequestQueue(
    Submitting, Claiming, PictureJobs, Placements, Watching, CallbackBox, Callers, Locks, Places, Previews, UsageRecords
):
    """Requests, and picture jobs of catalogs, on their way to pictures, in Redis Streams: at-least-once delivery, one
    end for every task.

    Each owner has a stream in each lane, with the consumer group `serving` from its beginning; owners are served in
    turn. A claimed entry stays pending until its task has ended, then it is acknowledged and deleted in the same step.
    Every change that touches two keys is one script. Times are those of Redis, so that clocks need not agree.

    Safe to use from many threads. Nothing is reached before the first call. Every method may raise
    QueueUnavailableError: Redis cannot be used now, and the same call may succeed later without a restart.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._unanswered, self._heard_s = {}, {}

    def check(self) -> None:
        """Find out whether Redis takes what is written to it; starts the private one if none is configured.

        One that is full, cannot persist or is a replica answers every read.
        """
        self._link.call(lambda client: client.set(f"{self._link.prefix}check", "", ex=_CHECK_KEPT_S))

    def eviction_policy(self) -> str:
        """What Redis does with keys when its memory is full; under any but `noeviction` it may lose requests."""
        return self._link.call(lambda client: str(client.info("memory").get("maxmemory_policy", "noeviction")))

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._link.close()


def open_queue(settings: Settings) -> RequestQueue:
    """The configured queue, or the private one of this machine. Reaches nothing yet."""
    return RequestQueue(RedisLink(settings.queue))
