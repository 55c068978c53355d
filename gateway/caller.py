"""Where the call comes from that a thread works on, for the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_address: ContextVar[str] = ContextVar("imagegenx_caller_address", default="")


@contextmanager
def calling_from(address: str) -> Iterator[None]:
    """What is done inside is done for a caller at this address."""
    token = _address.set(address)
    try:
        yield
    finally:
        _address.reset(token)


def caller_address() -> str:
    """The address; "unknown" outside of calls."""
    return _address.get() or "unknown"
