"""How much of forms with pictures is held in memory at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import ServiceError

FORMS_AT_ONCE = 4
"""So many of the largest forms, or as many more smaller ones as are as large together."""
RETRY_S = 2
"""Who finds no room is asked to come back so soon, s."""


class FormRoom:
    """The bytes of the forms that this process is reading or keeping. For one event loop."""

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._free_bytes = FORMS_AT_ONCE * largest_bytes

    @contextmanager
    def taken(self, declared_bytes: int | None) -> Iterator[None]:
        """Room for a form, as large as it says or as any may be, for as long as the block runs.

        Raises:
            ServiceError: 503 while there is none.
        """
        size = self._largest_bytes if declared_bytes is None else min(declared_bytes, self._largest_bytes)
        if size > self._free_bytes:
            raise ServiceError(
                503, "Too many pictures are being uploaded at once. Send yours again.", retry_after_s=RETRY_S
            )
        self._free_bytes -= size
        try:
            yield
        finally:
            self._free_bytes += size
