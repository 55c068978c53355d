"""The typed settings: defaults, then `configs/application.yaml`, then the environment, checked as a whole."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from configs.audit_settings import AuditSettings
from configs.gateway_settings import CallbackSettings, GatewaySettings
from configs.lifecycle_settings import (
    AlertSettings,
    CatalogSourceSettings,
    CheckSettings,
    ReleaseSettings,
    RetentionSettings,
    ScheduleSettings,
)
from configs.log_settings import LogSettings
from configs.marks_settings import MarkSettings
from configs.placement_settings import PlacementSettings
from configs.queue_settings import QueueSettings
from configs.serving_settings import ServingSettings
from configs.usage_settings import UsageSettings
from configs.web_server_settings import WebServerSettings
from foundation.error_text import cause_text
from foundation.errors import ConfigError
from foundation.problems import Problem, validation_problems
from foundation.value_object import NamedPath, ValueObject

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the checkout, or site-packages."""

_SECRETS = {
    "store": ("access_key", "secret_key"),
    "queue": ("url",),
    "gateway": ("url_secret", "page_token"),
    "callbacks": ("secret",),
    "alerts": ("secret",),
    "marks": ("private_key",),
}
"""Settings that come from the environment alone, by section."""


def default_home() -> Path:
    """`var/` in the checkout; of an installed package, below the working directory."""
    checkout = (PACKAGE_ROOT / "pyproject.toml").is_file()
    return (PACKAGE_ROOT if checkout else Path.cwd()) / "var"


class StoreSettings(ValueObject):
    """Where pictures and manifests are kept."""

    kind: Literal["local", "s3"] = Field(default="local", description="files on this machine, or any S3 service")
    path: NamedPath = Field(default=Path("store"), description="folder of a local store; relative to home")
    endpoint: str = Field(default="", description="host:port of the S3 service, without http://")
    bucket: str = Field(default="imagegenx", min_length=3, max_length=63, description="made if it does not exist")
    prefix: str = Field(default="", description="put before every key in the bucket")
    region: str = Field(default="us-east-1", description="the S3 region that requests are signed for")
    secure: bool = Field(default=True, description="TLS to the S3 service")
    access_key: SecretStr = Field(default=SecretStr(""), description="only from IMAGEGENX_STORE__ACCESS_KEY")
    secret_key: SecretStr = Field(default=SecretStr(""), description="only from IMAGEGENX_STORE__SECRET_KEY")
    url_expires_s: int = Field(default=7 * 24 * 3600, ge=1, le=7 * 24 * 3600, description="life of presigned URLs, s")
    connect_timeout_s: float = Field(default=5, gt=0, le=300, description="an S3 service silent longer is down, s")

    @model_validator(mode="after")
    def _s3_is_complete(self) -> "StoreSettings":
        secrets = {name: getattr(self, name).get_secret_value() for name in _SECRETS["store"]}
        needed = {"endpoint": self.endpoint} | secrets
        missing = [name for name, value in needed.items() if not value]
        if self.kind == "s3" and missing:
            raise ValueError(f"kind s3 also needs {', '.join(missing)}")
        return self


Offload = Literal["none", "encoders", "layers"]


class EngineSettings(ValueObject):
    """How pictures are computed."""

    fleet: bool = Field(
        default=False,
        description="catalog runs have workers make their pictures, through the queue, and load no model themselves",
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto takes a GPU if there is one"
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="CPU threads; PyTorch's choice if not given")
    max_batch_size: int = Field(default=8, ge=1, le=256, description="pictures in one forward pass")
    max_batch_tokens: int = Field(
        default=16_384,
        ge=1,
        le=1 << 24,
        description="of pictures in one pass of a diffusion transformer: 4096 of one of 1024×1024, twice if guided",
    )
    max_batch_wait_ms: int = Field(default=50, ge=0, le=60_000, description="wait for announced company, at most, ms")
    max_warm_models: int = Field(default=2, ge=1, le=64, description="models kept loaded per process")
    vram_budget_bytes: int | None = Field(default=None, ge=1, description="for the weights of all loaded models, bytes")
    decode_budget_pixels: int | None = Field(
        default=None, ge=128 * 128, description="a picture of more pixels is decoded in tiles of at most so many"
    )
    offload: Offload = Field(
        default="none",
        description="of diffusion transformers, kept in main memory between uses: text encoders, or also each layer",
    )


class PictureSettings(ValueObject):
    """How pictures are read and written."""

    original_quality: int = Field(default=95, ge=1, le=100, description="encoder quality of full pictures")
    thumbnail_quality: int = Field(default=80, ge=1, le=100, description="encoder quality of thumbnails")
    thumbnail_px: int = Field(
        default=256, ge=16, le=2048, description="the box a thumbnail fits in, px; a picture that fits is its own"
    )
    max_input_pixels: int = Field(
        default=33_554_432, ge=1, le=178_000_000, description="of all input pictures of a request; more are refused"
    )
    upload_workers: int = Field(default=4, ge=1, le=64, description="threads that encode and store pictures")
    upload_queue: int = Field(default=16, ge=1, le=1024, description="pictures waiting for those threads")


class Settings(BaseSettings):
    """All settings. Relative paths are below `home`; a relative `home` is below the working directory."""

    model_config = SettingsConfigDict(
        env_prefix="IMAGEGENX_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    home: NamedPath = Field(
        default_factory=default_home, description="where data lives; by default var/ in the checkout"
    )
    default_model: str = Field(default="tiny", description="model of requests that name none")
    model_folders: tuple[NamedPath, ...] = Field(default=(), description="folders with model cards of your own")
    catalog_folder: NamedPath = Field(
        default=Path("catalogs"),
        description="catalogs put here are registered, unchecked, in the store",
    )
    logo_folder: NamedPath = Field(
        default=Path("logos"), description="image watermarks may use files in here, no others"
    )
    fonts_folder: NamedPath = Field(default=Path("fonts"), description="fonts of your own for text watermarks")
    upscaler: NamedPath = Field(
        default=PACKAGE_ROOT / "models/builtin/upscaler.safetensors", description="the super-resolution network"
    )
    upscalers: dict[str, NamedPath] = Field(
        default={}, description="more super-resolution networks, by the names that requests choose them by"
    )
    upscaler_source: str = Field(
        default="",
        pattern=r"^$|^(store:|s3://)[^#]+\.safetensors#[0-9a-f]{64}$",
        description="the network in a store instead, fetched once: store:KEY#SHA256 or s3://BUCKET/KEY#SHA256",
    )
    store: StoreSettings = StoreSettings()
    engine: EngineSettings = EngineSettings()
    pictures: PictureSettings = PictureSettings()
    queue: QueueSettings = QueueSettings()
    serving: ServingSettings = ServingSettings()
    usage: UsageSettings = UsageSettings()
    placement: PlacementSettings = PlacementSettings()
    gateway: GatewaySettings = GatewaySettings()
    callbacks: CallbackSettings = CallbackSettings()
    catalog_source: CatalogSourceSettings = CatalogSourceSettings()
    schedules: tuple[ScheduleSettings, ...] = Field(default=(), description="when catalogs are refreshed")
    releases: ReleaseSettings = ReleaseSettings()
    checks: CheckSettings = CheckSettings()
    retention: RetentionSettings = RetentionSettings()
    marks: MarkSettings = MarkSettings()
    alerts: AlertSettings = AlertSettings()
    logs: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    web_server: WebServerSettings = WebServerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller names, then the environment, then the files of `IMAGEGENX_SECRETS`; no other sources."""
        return init_settings, env_settings, _secret_files(file_secret_settings)

    @model_validator(mode="after")
    def _placed_catalogs_have_workers(self) -> "Settings":
        if self.placement.launcher != "none" and not self.engine.fleet:
            raise ValueError(
                f"placement.launcher {self.placement.launcher} gives catalog runs no GPU: it needs engine.fleet: true"
            )
        return self

    @model_validator(mode="after")
    def _absolute_paths(self) -> "Settings":
        home = self.home.expanduser().absolute()
        paths = {name: home / getattr(self, name) for name in ("catalog_folder", "logo_folder", "fonts_folder")}
        place, _, sha256 = self.upscaler_source.partition("#")
        fetched = home / "models" / place.replace("/", "--") / sha256 / place.replace(":", "/").rpartition("/")[2]
        paths["upscaler"] = fetched if place else home / self.upscaler
        store = self.store.model_copy(update={"path": home / self.store.path.expanduser()})
        queue = self.queue.model_copy(update={"path": home / self.queue.path.expanduser()})
        inbox = self.catalog_source.folder
        source = self.catalog_source.model_copy(update={"folder": inbox and home / inbox.expanduser()})
        audit = self.audit.model_copy(update={"folder": home / self.audit.folder.expanduser()})
        folders = tuple(home / folder.expanduser() for folder in self.model_folders)
        upscalers = {name: home / file.expanduser() for name, file in self.upscalers.items()}
        scorers = {name: home / folder.expanduser() for name, folder in self.checks.scorer_models.items()}
        parts = {
            "home": home,
            "checks": self.checks.model_copy(update={"scorer_models": scorers}),
            "store": store,
            "queue": queue,
            "catalog_source": source,
            "audit": audit,
            "model_folders": folders,
            "upscalers": upscalers,
        }
        for name, value in {**parts, **paths}.items():
            self.__dict__[name] = value
        return self


class _FileSettings(Settings):
    """Settings whose arguments come from the file, so that the environment wins over them."""

    @classmethod
    def settings_customise_sources(cls, *given: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        arguments, *others = super().settings_customise_sources(*given, **sources)
        return *others, arguments


def _secret_files(source: PydanticBaseSettingsSource) -> NestedSecretsSettingsSource:
    """The folder of mounted secrets: a file for each variable, of its name, that the environment does not have."""
    folder = os.environ.get("IMAGEGENX_SECRETS")
    return NestedSecretsSettingsSource(source, secrets_dir=folder, secrets_dir_missing="error")


def load_settings() -> Settings:
    """The settings of this process: environment, secrets' files, `IMAGEGENX_CONFIG` (default: the packaged file).

    They are read once, and again when the environment, the working folder or the file is another one.

    Raises:
        ConfigError: listing every problem.
    """
    if (named := os.environ.get("IMAGEGENX_CONFIG")) == "":
        raise ConfigError([Problem("IMAGEGENX_CONFIG", "empty; name a file, or unset it")])
    if (secrets := os.environ.get("IMAGEGENX_SECRETS")) is not None and not Path(secrets or "\0").is_dir():
        raise ConfigError(
            [Problem("IMAGEGENX_SECRETS", f"{secrets!r} is no folder; name that of the secrets, or unset it")]
        )
    file = Path(named or PACKAGE_ROOT / "configs" / "application.yaml")
    mark: tuple[object, ...] = ()
    with suppress(OSError):  # told by who reads it
        stat = file.stat()
        mark = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, Path.cwd())
    return _load(file, frozenset(os.environ.items()), mark)


@lru_cache(maxsize=1)
def _load(file: Path, environment: frozenset[tuple[str, str]], mark: tuple[object, ...]) -> Settings:
    data = _read(file)
    leaked = list(_leaked_secrets(data, file))
    try:
        settings = _FileSettings(**data)
    except SettingsError as exc:
        raise ConfigError([*leaked, Problem("", f"{cause_text(exc)}: it must hold JSON, as {{}} or []")]) from exc
    except ValidationError as exc:
        raise ConfigError([*leaked, *validation_problems(exc, Settings)]) from None
    if leaked:
        raise ConfigError(leaked)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError([Problem(str(file), f"not readable as YAML: {cause_text(exc)}")]) from exc
    if data is not None and not isinstance(data, dict):
        raise ConfigError([Problem(str(file), "must hold settings by name")])
    return {str(name): value for name, value in (data or {}).items()}


def _leaked_secrets(data: Mapping[str, Any], file: Path) -> Iterator[Problem]:
    for section, names in _SECRETS.items():
        given = data.get(section)
        for name in names:
            if isinstance(given, Mapping) and name in given:
                variable = f"IMAGEGENX_{section.upper()}__{name.upper()}"
                yield Problem(f"{section}.{name}", f"secrets never stand in {file.name}; set the variable {variable}")
