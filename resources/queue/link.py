"""The connection to Redis: opened at the first call, every failure told as one of the queue's errors."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from configs.queue_settings import QueueSettings
from resources.queue.errors import QueueAccessError, QueueUnavailableError

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

    from resources.redis_server import PrivateRedis

Answer = TypeVar("Answer")

_SCRIPTS = Path(__file__).with_name("scripts")
_OUTAGES = ("LOADING", "READONLY", "MISCONF", "OOM", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN")


class RedisLink:
    """A Redis 6.2 or newer, or a Valkey: the configured one, or the private one of this machine.

    Safe to use from many threads and after a fork. Nothing is tried twice by itself, so that a Redis that is down
    shows within `connect_timeout_s`; the next call finds it again once it is back. The private Redis is started where
    it does not run.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.prefix = f"{settings.namespace}:"
        self._lock = threading.Lock()
        self._client: Redis | None = None
        self._scripts: dict[str, Script] = {}
        self._private: PrivateRedis | None = None

    @property
    def client(self) -> "Redis":
        """The client; made at the first use."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def call(self, command: Callable[["Redis"], Answer]) -> Answer:
        """What `command` answers. A private Redis that has died is started again, and asked once more."""
        with self.explained():
            client = self.client
            if self._private is None:
                return command(client)
            return self._call_private(command, client, self._private)

    def run(self, script: str, arguments: Mapping[str, object]) -> Any:
        """The answer of a script of `scripts/`. Every script may be run again after an answer that was lost."""
        text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
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

    def _call_private(self, command: Callable[["Redis"], Answer], client: "Redis", private: "PrivateRedis") -> Answer:
        from redis.exceptions import ConnectionError

        try:
            return command(client)
        except ConnectionError:
            private.start()
            return command(client)

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
            from resources.redis_server import private_redis

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
        from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

        text = " ".join(str(exc).split()).removesuffix(".")
        refused = isinstance(exc, AuthenticationError | NoPermissionError) or text.startswith(("NOAUTH", "WRONGPASS"))
        if refused:
            return QueueAccessError(
                f"{self.place} refuses us: {text}. Set IMAGEGENX_QUEUE__URL to a user and password that may use"
                f" keys '{self.prefix}*', scripts and publish."
            )
        if isinstance(exc, ResponseError) and not text.startswith(_OUTAGES):
            return QueueAccessError(
                f"{self.place} refuses a command: {text}. Redis 6.2 or newer, or Valkey, is needed."
            )
        return QueueUnavailableError(
            f"{self.place} cannot be used now: {text or type(exc).__name__}. Start it, or correct IMAGEGENX_QUEUE__URL."
        )

    @property
    def place(self) -> str:
        """Which Redis this is, without its password."""
        parts = urlsplit(self.settings.url.get_secret_value())
        if not parts.scheme:
            return f"The private Redis in {self.settings.path}"
        return f"Redis at {parts.hostname}:{parts.port or 6379}" if parts.hostname else f"Redis at {parts.path}"


@cache
def _source(name: str) -> str:
    return "\n".join((_SCRIPTS / f"{part}.lua").read_text(encoding="utf-8") for part in ("library", name))
