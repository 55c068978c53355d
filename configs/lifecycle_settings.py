"""Settings of what happens by itself: catalog sources, refreshes, model releases, checks, retention, alerts."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from configs.value_object import ValueObject


class CatalogSourceSettings(ValueObject):
    """A folder or bucket prefix whose catalog files become partitions."""

    folder: Path | None = Field(default=Path("inbox"), description="watched folder; relative to home; null for none")
    prefix: str = Field(default="", description="watched key prefix in the store, like catalogs/; empty for none")
    interval_s: int = Field(default=30, ge=1, description="between two looks, s")
    retire: bool = Field(default=True, description="a catalog whose file is gone loses its partition, not its pictures")


class ScheduleSettings(ValueObject):
    """When a catalog is refreshed, and how."""

    catalog: str = Field(description="name of the catalog")
    cron: str = Field(description="cron expression, like 0 6 * * *")
    timezone: str = Field(default="UTC", description="IANA time zone of the cron expression")
    policy: Literal["changed", "reseed"] = Field(
        default="changed", description="make missing and stale rows only, or every picture anew with new seeds"
    )


class ReleaseSettings(ValueObject):
    """What a new model release sets off."""

    backfill: Literal["all", "listed", "share", "none"] = Field(
        default="all", description="which catalogs with stale pictures are made anew by themselves"
    )
    catalogs: tuple[str, ...] = Field(default=(), description="the catalogs of `listed`")
    share: float = Field(default=0.1, gt=0, le=1, description="the share of catalogs of `share`, always the same ones")
    interval_s: int = Field(default=60, ge=1, description="between two looks at the models' files, s")


class CheckSettings(ValueObject):
    """Asset checks beyond the built-in ones."""

    moderation: str = Field(default="", description="moderator to ask about every finished picture; empty for none")
    freshness_hours: float = Field(default=0, ge=0, description="a catalog not made for so long is stale, h; 0: never")


class RetentionSettings(ValueObject):
    """How long things are kept."""

    orphan_hours: float = Field(default=24, ge=0, description="an object nothing refers to is removed after so long, h")
    on_demand_days: int = Field(default=30, ge=1, description="on-demand pictures may be removed after so long, days")
    editions: int = Field(default=2, ge=1, description="editions of a reseeded catalog that are kept")


class AlertSettings(ValueObject):
    """Where failures are announced."""

    webhook_url: str = Field(default="", description="POSTed, signed, when a run fails; empty for none")
    secret: SecretStr = Field(default=SecretStr(""), description="whsec_…; only from IMAGEGENX_ALERTS__SECRET")
