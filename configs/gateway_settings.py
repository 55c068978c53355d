"""Settings of the HTTP and gRPC gateway, of what it fetches and of the callbacks it sends."""

import re
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator

from configs.webhook_secret import WebhookSecret
from foundation.problems import shown
from foundation.value_object import ValueObject

_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?")


class GatewaySettings(ValueObject):
    """Where the gateway listens and what it lets in."""

    host: str = Field(default="127.0.0.1", description="address that HTTP and gRPC listen on")
    http_port: int = Field(default=8000, ge=0, le=65535, description="HTTP port; 0 takes a free one")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC port; 0 takes a free one")
    metrics_host: str = Field(default="127.0.0.1", description="address that the metrics listen on")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port of the metrics; null takes 9464, or a free one if that is in use",
    )
    max_connections: int = Field(
        default=1_000,
        ge=8,
        description="HTTP connections open at once in one gateway; those that send nothing make way",
    )
    max_client_connections: int = Field(
        default=500,
        ge=8,
        description="of them, those of one address; a proxy in front is one, and needs max_connections",
    )
    max_grpc_connections: int = Field(default=200, ge=8, description="gRPC connections open at once in one gateway")
    public_url: str = Field(default="", description="how clients reach the gateway, like https://pictures.example.com")
    max_body_bytes: int = Field(default=1_000_000, ge=1_000, description="largest JSON body, bytes")
    max_upload_bytes: int = Field(default=20_000_000, ge=1_000, description="largest input picture, bytes")
    url_secret: SecretStr = Field(
        default=SecretStr(""),
        description="signs picture URLs; only from IMAGEGENX_GATEWAY__URL_SECRET; made and kept if not given",
    )
    page_token: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "who opens the page with it, as /#token=…, gets a key of the user `local`; only from"
            " IMAGEGENX_GATEWAY__PAGE_TOKEN; `imagegenx dev` makes one"
        ),
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="origins of pages elsewhere whose scripts may call, like https://shop.example; * for all",
    )
    threads: int = Field(default=8, ge=1, le=256, description="calls answered at once; the others wait their turn")
    max_event_streams: int = Field(
        default=32, ge=1, le=10_000, description="streams of progress that one API key may have open in one gateway"
    )
    sync_timeout_s: float = Field(default=120, gt=0, description="the OpenAI face waits so long for a picture, s")
    allow_private_hosts: tuple[str, ...] = Field(
        default=(), description="hosts (or host:port) that picture and callback URLs may name though they are private"
    )
    fetch_timeout_s: float = Field(default=20, gt=0, le=300, description="for fetching one input picture, s")

    @property
    def http_url(self) -> str:
        """Where HTTP listens."""
        return _http_url(self.host.strip("[]"), self.http_port)

    @property
    def local_url(self) -> str:
        """Where this machine reaches HTTP."""
        host = self.host.strip("[]")
        return _http_url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), self.http_port)

    def catalog_url(self, catalog: str) -> str:
        """Where people see a catalog, as far as the settings say how they reach the gateway."""
        return f"{(self.public_url or self.local_url).rstrip('/')}/catalogs/{quote(catalog, safe='')}"

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_such(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{shown(origin)} is no origin like https://shop.example or http://localhost:5173")
        return origins

    @field_validator("allow_private_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{shown(host)} is neither a host nor host:port, like pictures.intern or [::1]:9000")
        return value


def _http_url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class CallbackSettings(ValueObject):
    """How callbacks are signed and retried (Standard Webhooks)."""

    secret: WebhookSecret = Field(
        default=SecretStr(""), description="whsec_…; only from IMAGEGENX_CALLBACKS__SECRET; made and kept if not given"
    )
    timeout_s: float = Field(default=10, gt=0, le=120, description="for one delivery, s")
    max_attempts: int = Field(default=12, ge=1, le=50, description="deliveries tried before giving up")
    first_retry_s: float = Field(default=5, gt=0, description="before the first retry; doubles with each, s")
    max_retry_s: float = Field(default=3600, gt=0, description="longest wait between two tries, s")
    workers: int = Field(default=16, ge=1, le=256, description="deliveries at once in one gateway")
