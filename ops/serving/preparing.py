"""Threads for tasks whose input pictures must be fetched first, shared out among owners."""

from resources.fair_threads import FairThreads

THREADS = 16
"""They mostly wait for a network."""
THREADS_PER_OWNER = 2
CLAIMS_PER_OWNER = 4
"""Whoever has so many tasks in preparation here gets none claimed until some are done."""


class Preparing(FairThreads):
    """Nobody waits for another's servers."""

    def __init__(self) -> None:
        super().__init__(THREADS, THREADS_PER_OWNER, "preparing")
