"""Who makes the call that a thread works on: the address, for the audit log, and the API key that came with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_caller: ContextVar[tuple[str, str]] = ContextVar("imagegenx_caller", default=("", ""))


@contextmanager
def calling_from(address: str, api_key: str) -> Iterator[None]:
    """What is done inside is done for a caller at this address, who gave this key, right or wrong."""
    token = _caller.set((address, api_key))
    try:
        yield
    finally:
        _caller.reset(token)


def caller_address() -> str:
    """The address; "unknown" outside of calls."""
    return _caller.get()[0] or "unknown"


def caller_key() -> str:
    """The API key as it was given; "" without one."""
    return _caller.get()[1]


def given_key(headers: Mapping[str, str]) -> str:
    """The key in `X-API-Key`, or the one an OpenAI client sends as a bearer token; names in lower case."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key", "") or (token.strip() if scheme.lower() == "bearer" else "")
