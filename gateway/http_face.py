"""What all HTTP calls share: the service behind them, threads to call it on, and the reading of requests."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from starlette.datastructures import UploadFile
from starlette.requests import Request

from foundation.problems import shown
from gateway.answers import Answers
from gateway.caller import caller_key
from gateway.changes import TaskChanges
from gateway.errors import ServiceError, bad_field
from gateway.form_room import FormRoom
from gateway.guard import largest_form_bytes
from gateway.http_server import FIRST_BYTES
from gateway.service import GatewayService
from models.decoding.pool import MOST_READERS
from resources.accounts import Account, Scope
from resources.fair_threads import FairThreads

P = ParamSpec("P")
T = TypeVar("T")

FORM_TIMEOUT_S = 120
"""A form that takes longer to arrive gives its room to others, s."""

OWNER_SHARE = 8
"""Calls of one user that wait for their tasks have one in so many of all connections."""

_SIZE = re.compile(r"\d{1,15}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}", re.ASCII)


class _LoopFuture(Generic[T]):
    """What a thread does for a coroutine; asyncio's own bridge between such futures takes far longer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits."""
        return not self.future.cancelled()

    def cancel(self) -> None:
        """Nobody will do it."""
        self._settle(self.future.cancel)

    def set_result(self, result: T) -> None:
        """It is done."""
        self._settle(partial(self.future.set_result, result))

    def set_exception(self, exception: BaseException) -> None:
        """It has failed."""
        self._settle(partial(self.future.set_exception, exception))

    def _settle(self, settle: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(lambda: self.future.done() or settle())


class HttpFace:
    """The service as the HTTP calls use it: from an event loop, on a few threads."""

    def __init__(self, service: GatewayService, changes: TaskChanges) -> None:
        self.service = service
        self.changes = changes
        self._threads, self._store_threads = (service.threads(name) for name in ("http", "http-store"))
        self._mark_threads = FairThreads(MOST_READERS, 1, "http-marks")
        self._waiting: Counter[str] = Counter()
        self.most_waiting = max(1, service.settings.gateway.max_connections // OWNER_SHARE)
        self._form_room = FormRoom(largest_form_bytes(service.settings.gateway))

    async def call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a blocking call of the service on one of the threads, of which no caller takes another's."""
        return await self._run(self._threads, partial(function, *args, **options))

    async def call_store(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """`call`, for what asks the object store: one that does not answer holds up no other calls."""
        return await self._run(self._store_threads, partial(function, *args, **options))

    async def call_marks(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """`call`, for what reads marks, which takes seconds: nobody waits for more than one picture of another's."""
        return await self._run(self._mark_threads, partial(function, *args, **options))

    @contextmanager
    def waiting(self) -> Iterator[bool]:
        """A call that keeps its connection while a task goes on; whether its user may have one more of these.

        Connections that are answered make way for no others: one user's waits must not take all there are.
        """
        owner = self.service.whose(caller_key())
        may_wait = self._waiting[owner] < self.most_waiting
        self._waiting[owner] += 1
        try:
            yield may_wait
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]

    def close(self) -> None:
        """Begin no more calls."""
        for threads in (self._threads, self._store_threads, self._mark_threads):
            threads.close()

    async def account(self, *scopes: Scope) -> Account:
        """The caller's account, whose key has one of these scopes, counted against its QPS."""
        return await self.call(self.service.authenticate, caller_key(), *scopes)

    async def body(self, request: Request) -> tuple[bytes, Callable[[], Account]]:
        """The body of a submission, and what gives the caller's account, to be called on a thread.

        A body that is large, or of unknown size, is only read once its key is accepted; with a smaller one, which is
        there already, key and work take one step on one thread.
        """
        size = declared_bytes(request)
        if size is not None and size <= FIRST_BYTES:
            return await request.body(), lambda: self.service.authenticate(caller_key(), Scope.SUBMIT)
        account = await self.account(Scope.SUBMIT)
        return await request.body(), lambda: account

    @asynccontextmanager
    async def form(
        self, request: Request, account: Account, files: int
    ) -> AsyncIterator[tuple[dict[str, str], dict[str, bytes]]]:
        """The text fields and the files of a form, each by its name; there is room for them until the block ends.

        Raises:
            ServiceError: 422 for a name given twice, 408 if it does not arrive, 503 while too much is held.
        """
        with self._form_room.taken(account.user_id, declared_bytes(request)):
            try:
                async with asyncio.timeout(FORM_TIMEOUT_S):
                    texts, pictures = await _read_form(request, files, self.service.settings.gateway.max_body_bytes)
            except TimeoutError:
                raise ServiceError(408, f"The form did not arrive within {FORM_TIMEOUT_S} s. Send it again.") from None
            yield texts, pictures

    def answers(self, request: Request) -> Answers:
        """Answers with URLs that this caller can reach."""
        return Answers(self.service, self.base_url(request))

    async def _run(self, threads: FairThreads, call: Callable[[], T]) -> T:
        answer: _LoopFuture[T] = _LoopFuture()
        threads.settle(self.service.whose(caller_key()), partial(copy_context().run, call), answer)
        return await answer.future

    def base_url(self, request: Request) -> str:
        """The configured public URL, or the address that the caller used."""
        host = request.headers.get("host", "")
        if self.service.settings.gateway.public_url or not _HOST.fullmatch(host):
            return ""
        return f"{request.scope['scheme']}://{host}"


async def known_query(request: Request) -> None:
    """Refuse query parameters that a GET does not take: the answer would be to another question."""
    if request.method != "GET":
        return
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            takes = f"This call takes: {', '.join(sorted(known))}" if known else "This call takes none"
            raise bad_field(name[:80], f"unknown query parameter. {takes}")


def is_multipart(request: Request) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def json_object(body: bytes | str, field: str = "") -> Mapping[str, object]:
    """The object in a JSON body: 400 if it is not JSON, 422 if it is something else than an object."""
    try:
        data = json.loads(body, object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc).partition("; use sys.")[0]
        raise ServiceError(400, f"{field or 'The body'} is not JSON: {reason[:200]}.") from exc
    if not isinstance(data, dict):
        raise bad_field(field, f"{shown(data)} is not an object with fields")
    return data


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON: of a name that it has twice, either value may be meant."""
    if len(found := dict(pairs)) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{shown(twice)} is given twice")
    return found


def declared_bytes(request: Request) -> int | None:
    """The size of the body, where it is told beforehand: the server reads no more than that."""
    told = request.headers.get("content-length", "")
    return int(told) if _SIZE.fullmatch(told) else None


async def _read_form(request: Request, files: int, max_text_bytes: int) -> tuple[dict[str, str], dict[str, bytes]]:
    texts: dict[str, str] = {}
    pictures: dict[str, bytes] = {}
    async with request.form(max_files=files, max_fields=50, max_part_size=max_text_bytes) as form:
        for name, value in form.multi_items():
            if name in texts or name in pictures:
                raise bad_field(name[:80], "given more than once")
            if isinstance(value, UploadFile):
                pictures[name] = await value.read()
            else:
                texts[name] = value
    return texts, pictures
