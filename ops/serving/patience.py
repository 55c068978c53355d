"""Waiting for a store or a queue that is away, with growing pauses and an end."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from foundation.errors import FailureCause, ImageGenXError
from resources.object_store import StoreUnavailableError
from resources.queue import QueueUnavailableError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

Answer = TypeVar("Answer")


class OutageError(ImageGenXError):
    """A service stayed away for longer than a request may wait for it; the store, where that makes a request fail."""

    cause = FailureCause.STORE


class HandOverError(ImageGenXError):
    """The serving run ends before the service is back: the request goes to the next one."""


class Patience:
    """Repeats calls that meet an outage.

    Args:
        limit_s: one call is repeated for so long.
        stopping: set when the serving run ends; nothing is waited for then.
    """

    def __init__(self, limit_s: float, stopping: threading.Event) -> None:
        self._limit_s = limit_s
        self._stopping = stopping

    def until_it_works(self, call: Callable[[], Answer]) -> Answer:
        """What the call returns as soon as store and queue let it; its other errors are raised at once.

        Raises:
            OutageError: after `limit_s`.
            HandOverError: if the serving run ends first.
        """
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return call()
            except (StoreUnavailableError, QueueUnavailableError) as exc:
                away_s = time.monotonic() - began
                if self._stopping.is_set():
                    raise HandOverError(str(exc)) from exc
                if away_s + pause_s > self._limit_s:
                    raise OutageError(f"given up after {away_s:.0f} s: {exc}") from exc
                logger.warning("trying again in %.1f s: %s", pause_s, exc)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
