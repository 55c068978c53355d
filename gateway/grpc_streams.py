"""How many keyless gRPC streams are open at once, health watches and reflection: one makes way for another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from gateway.turns import Turns

MOST_STREAMS = 100
"""They need no API key, and each costs about 17 kB."""
EXCHANGED_EVERY_S = 1.0
"""A connection gets another stream's place no more often: who begins thousands anew does not keep the gateway busy."""
_OVER = f"More than {MOST_STREAMS} streams of this gateway are open, most of them yours. Begin it anew."


class LastingStreams(grpc.aio.ServerInterceptor):
    """Once there are MOST_STREAMS, ends the oldest of the connection that has most. For one event loop.

    While there is no room, connections take turns with their new streams, which wait for it and are told nothing.

    Args:
        spared: the service whose streams need a key, and are counted by it.
    """

    def __init__(self, spared: str) -> None:
        self._spared = f"/{spared}/"
        self._open: dict[str, dict[asyncio.Event, None]] = {}
        self._turns = Turns(EXCHANGED_EVERY_S)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The handler of a call, with a place if it answers with a stream."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler.response_streaming or handler_call_details.method.startswith(self._spared):
            return handler
        make, stream = (
            (grpc.stream_stream_rpc_method_handler, handler.stream_stream)
            if handler.request_streaming
            else (grpc.unary_stream_rpc_method_handler, handler.unary_stream)
        )

        async def placed(request: Any, context: Any) -> AsyncGenerator[Any, None]:
            async for message in self._until_ended(stream(request, context), context):
                yield message

        return make(placed, handler.request_deserializer, handler.response_serializer)

    async def _until_ended(self, stream: AsyncIterator[Any], context: Any) -> AsyncGenerator[Any, None]:
        peer = context.peer()
        if self._is_full():
            await self._turns.begin(peer)
        ended = self._place(peer)
        ending = asyncio.ensure_future(ended.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(stream, None))
                await asyncio.wait((following, ending), return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _OVER)
                message = following.result()
                if message is None:
                    return
                yield message
        finally:
            ending.cancel()
            following.cancel()
            self._close(peer, ended)

    def _is_full(self) -> bool:
        return sum(map(len, self._open.values())) >= MOST_STREAMS

    def _place(self, peer: str) -> asyncio.Event:
        """A place for a stream of this connection; what is set once another stream takes it."""
        if self._is_full():
            most = max(self._open, key=lambda one: len(self._open[one]))
            oldest = next(iter(self._open[most]))
            self._close(most, oldest)
            oldest.set()
        ended = asyncio.Event()
        self._open.setdefault(peer, {})[ended] = None
        return ended

    def _close(self, peer: str, ended: asyncio.Event) -> None:
        streams = self._open.get(peer, {})
        streams.pop(ended, None)
        if not streams:
            self._open.pop(peer, None)
