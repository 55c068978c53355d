"""How much of forms with pictures is held in memory at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import ServiceError

FORMS_AT_ONCE = 4
"""So many of the largest forms, or as many more smaller ones as are as large together."""
RETRY_S = 2
"""Who finds no room is asked to come back so soon, s."""


class FormRoom:
    """The bytes of the forms that this process is reading or keeping. For one event loop.

    One owner may hold as much as is left to the others: so who declares the largest forms and lets them drip in takes
    half of the room, and those who follow a half of the rest each.
    """

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._free_bytes = FORMS_AT_ONCE * largest_bytes
        self._held_bytes: Counter[str] = Counter()

    @contextmanager
    def taken(self, owner: str, declared_bytes: int | None) -> Iterator[None]:
        """Room for a form, as large as it says or as any may be, for as long as the block runs.

        Raises:
            ServiceError: 503 while there is none.
        """
        size = self._largest_bytes if declared_bytes is None else min(declared_bytes, self._largest_bytes)
        if self._held_bytes[owner] + size > self._free_bytes - size:
            raise ServiceError(
                503, "Too many pictures are being uploaded at once. Send yours again.", retry_after_s=RETRY_S
            )
        self._hold(owner, size)
        try:
            yield
        finally:
            self._hold(owner, -size)

    def _hold(self, owner: str, size: int) -> None:
        self._free_bytes -= size
        self._held_bytes[owner] += size
        if not self._held_bytes[owner]:
            del self._held_bytes[owner]
