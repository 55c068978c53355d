"""Streams of server-sent events: how many one key or owner may have open, and who gives its place back when."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.errors import ServiceError
from resources.accounts import Account

KIND = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_S = 5
"""Who has all its streams open is asked to come back so soon, s."""


@dataclass(frozen=True)
class StreamHolder:
    """Who holds places, and what refusals call them."""

    id: str
    shown: str

    @classmethod
    def of_key(cls, account: Account) -> "StreamHolder":
        """An API key."""
        return cls(account.key_id, f"API key {account.key_id}…")

    @classmethod
    def of_address(cls, owner: str) -> "StreamHolder":
        """The addresses of events of all tasks of an owner, who is not named to those who have one."""
        return cls(f"owner {owner}", "Who gave you this address")


class StreamPlaces:
    """The streams that are open in this process, by who holds them. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, holder: StreamHolder) -> Iterator[None]:
        """One of the holder's places, for as long as the block runs; ServiceError (429) if it has no more."""
        if self._taken[holder.id] >= self._most:
            rule = f"{holder.shown} has {self._most} streams of events open, which is the most"
            raise ServiceError(429, f"{rule}. Close one, or ask for the task instead.", retry_after_s=RETRY_S)
        self._taken[holder.id] += 1
        try:
            yield
        finally:
            self._taken[holder.id] -= 1
            if not self._taken[holder.id]:
                del self._taken[holder.id]


class EventStream(StreamingResponse):
    """A stream of events that has a place from before its first byte until it ends or its client is gone."""

    def __init__(self, events: AsyncGenerator[bytes, None], places: StreamPlaces, holder: StreamHolder) -> None:
        super().__init__(events, headers=HEADERS, media_type=KIND)
        self._events, self._places, self._holder = events, places, holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a client that hangs up ends this at once."""
        async with aclosing(self._events):
            with self._places.taken(self._holder):
                await super().__call__(scope, receive, send)
