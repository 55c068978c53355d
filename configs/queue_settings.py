"""Settings of the request queue and the accounts, which live in Redis."""

from pathlib import Path

from pydantic import Field, SecretStr

from configs.value_object import ValueObject


class QueueSettings(ValueObject):
    """The request queue. With no `url`, a private Redis is started on this machine and shared by its processes."""

    url: SecretStr = Field(default=SecretStr(""), description="redis://… or rediss://…; only from IMAGEGENX_QUEUE__URL")
    path: Path = Field(default=Path("redis"), description="folder of the private Redis; relative to home")
    namespace: str = Field(default="imagegenx", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="before every Redis key")
    connect_timeout_s: float = Field(default=2, gt=0, le=60, description="a Redis silent longer is down, s")
    max_waiting: int = Field(default=10_000, ge=1, description="requests waiting; more are refused until some are done")
    lease_s: float = Field(default=30, ge=1, le=3600, description="a claim not renewed so long is taken over, s")
    max_deliveries: int = Field(default=3, ge=1, le=100, description="a request that ended so many workers is given up")
    task_ttl_s: int = Field(default=24 * 3600, ge=60, description="life of a task's status after its last change, s")
    url_ttl_s: int = Field(default=7 * 24 * 3600, ge=60, le=7 * 24 * 3600, description="life of cached picture URLs, s")
    key_ttl_s: int = Field(default=30 * 24 * 3600, ge=60, description="life of an API key, s")
    default_qps: int = Field(default=30, ge=1, le=100_000, description="requests a second of a key that names no limit")
