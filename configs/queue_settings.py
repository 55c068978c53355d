"""Settings of the request queue and the accounts, which live in Redis."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from foundation.value_object import NamedPath, ValueObject


class QueueSettings(ValueObject):
    """The request queue. With no `url`, a private Redis is started on this machine and shared by its processes."""

    url: SecretStr = Field(
        default=SecretStr(""), description="redis://, rediss:// or unix://; only from IMAGEGENX_QUEUE__URL"
    )
    path: NamedPath = Field(default=Path("redis"), description="folder of the private Redis; relative to home")
    fsync: Literal["always", "everysec"] = Field(
        default="always", description="the private Redis syncs each change to disk before answering, or once a second"
    )
    namespace: str = Field(default="imagegenx", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="before every Redis key")
    connect_timeout_s: float = Field(default=2, gt=0, le=60, description="a Redis silent longer is down, s")
    max_waiting: int = Field(
        default=10_000,
        ge=1,
        description="requests waiting; more are refused; the last 1 % is for users with less than an even share",
    )
    max_owner_tasks: int = Field(
        default=100_000, ge=1, description="tasks of one user that are remembered; more are refused until some expire"
    )
    max_owner_bytes: int = Field(
        default=250_000_000, ge=100_000, description="room in Redis for the tasks of one user, bytes"
    )
    max_owner_upload_bytes: int = Field(
        default=10_000_000_000, ge=1_000_000, description="pictures that one user uploads within task_ttl_s, bytes"
    )
    max_owner_upload_pixels: int = Field(
        default=10_000_000_000,
        ge=1_000_000,
        description="pixels of the pictures that one user uploads within task_ttl_s",
    )
    lease_s: float = Field(default=30, ge=1, le=3600, description="a claim not renewed so long is taken over, s")
    max_deliveries: int = Field(default=3, ge=2, le=100, description="a request that ended so many workers is given up")
    bulk_every: int = Field(
        default=5, ge=1, le=1000, description="while both lanes wait, every so many-th request is a bulk one"
    )
    task_ttl_s: int = Field(
        default=24 * 3600,
        ge=60,
        description="life of a task's status after its last change, s; with pictures, as long as their URLs at least",
    )
    url_ttl_s: int = Field(default=7 * 24 * 3600, ge=60, le=7 * 24 * 3600, description="life of picture URLs, s")
    key_ttl_s: int = Field(default=30 * 24 * 3600, ge=60, description="life of an API key, s")
    default_qps: int = Field(default=30, ge=1, le=100_000, description="requests a second of a key that names no limit")

    @field_validator("url")
    @classmethod
    def _url_is_of_redis(cls, url: SecretStr) -> SecretStr:
        """The text never shows the URL: it may hold a password."""
        if url.get_secret_value() and not _is_redis_url(url.get_secret_value()):
            raise ValueError("not a URL like redis://user:password@host:6379/0, rediss://… or unix:///path")
        return url


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in ("redis", "rediss", "unix") and bool(place) and parts.port != 0
    except ValueError:
        return False
