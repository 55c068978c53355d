"""The time that transfers have together."""

import time
from collections.abc import Callable

from resources.outbound.errors import NotWantedError


class Deadline:
    """The end of one transfer, or of several that share their time, redirects included.

    Args:
        timeout_s: from now on.
        is_wanted: asked again and again; when it says no, the transfer ends at once.
    """

    def __init__(self, timeout_s: float, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self.timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._is_wanted = is_wanted

    def left_s(self) -> float:
        """Seconds left, above 0.

        Raises:
            TimeoutError: if there are none.
            NotWantedError: if nobody waits for it any more.
        """
        if not self._is_wanted():
            raise NotWantedError("nobody waits for the transfer any more.")
        left = self._end_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
