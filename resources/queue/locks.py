"""Locks that all gateways of one Redis share."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from resources.queue.errors import QueueUnavailableError
from resources.queue.link import RedisLink

if TYPE_CHECKING:
    from redis import Redis
    from redis.lock import Lock

HELD_FOR_S = 120.0
"""A lock is void after so long: who held it was killed, or waits for a store that does not answer."""
WAITED_FOR_S = 20.0


class Locks:
    """A part of the request queue."""

    _link: RedisLink

    @contextmanager
    def alone(self, names: Iterable[str]) -> Iterator[None]:
        """Hold a lock of each name, which nobody else holds while the block runs.

        Raises:
            QueueUnavailableError: if Redis cannot be used, or others hold one of them for too long.
        """
        with ExitStack() as held:
            for name in sorted(set(names)):  # in one order, so that nobody waits for each other
                lock = self._link.call(partial(_acquired, name=f"{self._link.prefix}lock:{name}"))
                if lock is None:
                    raise QueueUnavailableError(f"'{name}' is in use by other calls for {WAITED_FOR_S:g} s. Try again.")
                held.callback(_release, lock)
            yield


def _acquired(client: "Redis", name: str) -> "Lock | None":
    lock = client.lock(name, timeout=HELD_FOR_S, blocking_timeout=WAITED_FOR_S, sleep=0.02, thread_local=False)
    return lock if lock.acquire() else None


def _release(lock: "Lock") -> None:
    from redis.exceptions import RedisError

    with suppress(RedisError, OSError):  # it becomes void by itself
        lock.release()
