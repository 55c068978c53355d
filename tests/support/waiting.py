"""Waiting for what other threads and processes bring about."""

import time
from collections.abc import Callable

SHARE = 4
"""A pause is so many times as long as a look: what is waited for needs the processor."""


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Poll until it holds; a failed assertion if it never does."""
    began_s = time.monotonic()
    deadline_s = began_s + timeout_s
    while not condition():
        looked_s = time.monotonic()
        assert looked_s < deadline_s, f"it did not happen in {timeout_s:g} s"
        time.sleep(min(1.0, max(0.02, SHARE * (looked_s - began_s))))
        began_s = time.monotonic()
