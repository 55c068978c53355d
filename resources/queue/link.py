"""The connection to Redis: opened at the first call, every failure told as one of the queue's errors."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic_core import to_json

from configs.queue_settings import QueueSettings
from resources.queue.errors import QueueAccessError, QueueUnavailableError
from resources.queue.trouble import UNREACHABLE, trouble_of

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

    from resources.queue.redis_server import PrivateRedis

Answer = TypeVar("Answer")

_SCRIPTS = Path(__file__).with_name("scripts")
_TRIES = 3
"""Of a call that may find a Redis that works on a new connection: beside it, others put theirs back into the pool."""


class RedisLink:
    """A Redis 6.2 or newer, or a Valkey: the configured one, or the private one of this machine.

    Safe to use from many threads and after a fork. A Redis that is down shows within `connect_timeout_s`; the next call
    finds it again once it is back. Where its address leads to another one by now, after a failover, a call goes on
    there by itself. The private Redis is started where it does not run.

    Attributes:
        dropped: how often the connections were dropped, since they may have led to the wrong Redis; who holds one of
            its own then opens it anew.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.prefix = f"{settings.namespace}:"
        history_ttl_s = max(settings.task_ttl_s, settings.url_ttl_s)
        self._lives = {"task_ttl_s": settings.task_ttl_s, "history_ttl_s": history_ttl_s}
        self._lock = threading.Lock()
        self._client: Redis | None = None
        self._scripts: dict[str, Script] = {}
        self._private: PrivateRedis | None = None
        self.dropped = 0

    @property
    def client(self) -> "Redis":
        """The client; made at the first use."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def call(self, command: Callable[["Redis"], Answer]) -> Answer:
        """What `command` answers; it is asked again where another Redis, or one that is started now, may answer it."""
        for _ in range(_TRIES - 1):
            try:
                return self._called(command)
            except QueueUnavailableError as exc:
                if not self._may_find_another(exc):
                    raise
        return self._called(command)

    def run(self, script: str, arguments: Mapping[str, object]) -> Any:
        """The answer of a script of `scripts/`. Every script may be run again after an answer that was lost."""
        text = compact_json({**self._lives, **arguments})
        return self.call(lambda client: self._script(client, script)(keys=[self.prefix], args=[text]))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Tell what the client raises in words, without the password that its URL may hold."""
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as exc:
            raise self._explained(exc) from exc

    def close(self) -> None:
        """Close the connections. The private Redis stops with the last of its users."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client, self._scripts = None, {}
            if self._private is not None:
                self._private.release()
            self._private = None

    def _called(self, command: Callable[["Redis"], Answer]) -> Answer:
        from redis.exceptions import RedisError

        try:
            return command(self.client)
        except (RedisError, OSError) as exc:
            raise self._explained(exc) from exc

    def _may_find_another(self, error: QueueUnavailableError) -> bool:
        """Drop the connections that an outage makes doubtful; whether a new one may be better, at once.

        A silent Redis may be one whose machine is gone: then every connection of the pool would be found out alone.
        """
        from redis.exceptions import ConnectionError

        if self._client and (error.trouble.elsewhere or error.trouble is UNREACHABLE):
            self.dropped += 1
            self._client.connection_pool.disconnect(inuse_connections=False)
        if self._private and isinstance(error.__cause__, ConnectionError):
            self._private.start()
            return True
        return error.trouble.elsewhere

    def _script(self, client: "Redis", name: str) -> "Script":
        if name not in self._scripts:
            self._scripts[name] = client.register_script(_source(name))
        return self._scripts[name]

    def _new_client(self) -> "Redis":
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        url = self.settings.url.get_secret_value()
        if not url:
            from resources.queue.redis_server import private_redis

            self._private = private_redis(self.settings)
            url = self._private.start()
        timeout_s = self.settings.connect_timeout_s
        return Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def _explained(self, exc: Exception) -> QueueUnavailableError:
        said = " ".join(str(exc).split()).removesuffix(".") or type(exc).__name__
        trouble = trouble_of(exc)
        kind = QueueAccessError if trouble.needs_operator else QueueUnavailableError
        return kind(f"{self.place} {trouble.text}: {said}. {trouble.remedy}", trouble)

    @property
    def place(self) -> str:
        """Which Redis this is, without its password."""
        parts = urlsplit(self.settings.url.get_secret_value())
        if not parts.scheme:
            return f"The private Redis in {self.settings.path}"
        return f"Redis at {parts.hostname}:{parts.port or 6379}" if parts.hostname else f"Redis at {parts.path}"


def compact_json(data: object) -> str:
    """JSON without spaces, in a third of the time that `json` takes."""
    return to_json(data).decode()


@cache
def _source(name: str) -> str:
    return "\n".join((_SCRIPTS / f"{part}.lua").read_text(encoding="utf-8") for part in ("library", name))
