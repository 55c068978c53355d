"""How many gRPC streams without an API key, health watches and reflection, are open at once: the oldest makes way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

MOST_STREAMS = 100
"""They need no API key, and each costs about 17 kB."""
_OVER = f"More than {MOST_STREAMS} streams of this gateway are open, and this is the oldest. Begin it anew."


class LastingStreams(grpc.aio.ServerInterceptor):
    """Ends the oldest stream once there are more than MOST_STREAMS. For one event loop.

    Args:
        spared: the service whose streams need a key, and are counted by it.
    """

    def __init__(self, spared: str) -> None:
        self._spared = f"/{spared}/"
        self._open: dict[asyncio.Event, None] = {}

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
        ended = self._place()
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
            self._open.pop(ended, None)

    def _place(self) -> asyncio.Event:
        """A place; what is set once another stream takes it."""
        if len(self._open) >= MOST_STREAMS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.set()
        ended = asyncio.Event()
        self._open[ended] = None
        return ended
