"""Settings of what happens by itself: catalog sources, refreshes, model releases, checks, retention, alerts."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from configs.webhook_secret import WebhookSecret
from foundation.cron import cron_rule, timezone_rule
from foundation.value_object import NamedPath, ValueObject


class CatalogSourceSettings(ValueObject):
    """A folder or bucket prefix whose catalog files become partitions."""

    folder: NamedPath | None = Field(
        default=Path("inbox"), description="watched folder; relative to home; null for none"
    )
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

    @field_validator("cron", "timezone")
    @classmethod
    def _follow_their_rules(cls, value: str, field: ValidationInfo) -> str:
        if rule := (cron_rule if field.field_name == "cron" else timezone_rule)(value):
            raise ValueError(rule)
        return value


class ReleaseSettings(ValueObject):
    """What a new model release sets off."""

    backfill: Literal["all", "listed", "share", "trial", "none"] = Field(
        default="all", description="which catalogs with stale pictures are made anew by themselves"
    )
    catalogs: tuple[str, ...] = Field(default=(), description="the catalogs of `listed`, and those of `trial`")
    share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="of catalogs, for `share`; of each catalog's approved rows, for `trial`; always the same ones",
    )
    trial_approved: float = Field(
        default=0.9, gt=0, le=1, description="after `trial`, all follows once this share of its pictures is approved"
    )
    interval_s: int = Field(default=60, ge=1, description="between two looks at the models' files, s")

    @model_validator(mode="after")
    def _trial_has_catalogs(self) -> "ReleaseSettings":
        if self.backfill == "trial" and not self.catalogs:
            raise ValueError("backfill trial also needs catalogs, whose rows it is tried on")
        return self


ScorerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class CheckSettings(ValueObject):
    """How pictures are checked, and asset checks beyond the built-in ones."""

    sample: int = Field(default=32, ge=1, le=10_000, description="pictures a check opens, of those a run made")
    moderation: str = Field(
        default="", description="blocklist, nudenet, or module:Class of a moderator or detector; empty for none"
    )
    moderation_fails: Literal["closed", "open"] = Field(
        default="closed", description="publish no picture that a moderator could not judge, or publish it, and say so"
    )
    reject_above: dict[str, float] = Field(
        default={
            **{"FEMALE_GENITALIA_EXPOSED": 0.4, "MALE_GENITALIA_EXPOSED": 0.4, "ANUS_EXPOSED": 0.4},
            **{"FEMALE_BREAST_EXPOSED": 0.5, "BUTTOCKS_EXPOSED": 0.6},
        },
        description="by a detector's classes, as nudenet's: what is surer of one, 0 to 1, goes to quarantine",
    )
    blocked_words: tuple[str, ...] = Field(
        default=(),
        description="words that no prompt, negative prompt or mark may have, while there is a moderator; "
        "`*gun` is also found at the end of longer words, `gun*` at their beginning",
    )
    freshness_hours: float = Field(default=0, ge=0, description="a catalog not made for so long is stale, h; 0: never")
    scorers: tuple[str, ...] = Field(
        default=("contrast", "sharpness", "background", "colour", "cut_off", "adherence"),
        description="scorers of reviewed catalogs' pictures, 0 to 1; also lettering, and module:function of your own",
    )
    scorer_models: dict[ScorerName, NamedPath] = Field(
        default={}, description="CLIP or reward models that score too, folders of transformers' CLIPModel, by name"
    )
    review_below: dict[str, float] = Field(
        default={"contrast": 0.4, "sharpness": 0.43, "background": 0.55, "colour": 0.5, "cut_off": 0.97}
        | {"adherence": 0.5, "lettering": 0.6, "moderation": 0.4},
        description="with `review: flagged`, a person is asked of a picture with such a score",
    )
    remake_below: dict[str, float] = Field(
        default={"contrast": 0.1}, description="with `remake`, a picture with such a score is made again at once"
    )

    @field_validator("reject_above")
    @classmethod
    def _are_scores(cls, value: dict[str, float]) -> dict[str, float]:
        if wrong := [f"{name} {limit}" for name, limit in value.items() if not 0 < limit <= 1]:
            raise ValueError(f"{wrong[0]}: a limit is above 0 and at most 1")
        return value

    @model_validator(mode="after")
    def _blocklist_has_words(self) -> "CheckSettings":
        if self.moderation == "blocklist" and not any(word.strip() for word in self.blocked_words):
            raise ValueError("moderation blocklist also needs blocked_words")
        return self

    @model_validator(mode="after")
    def _scorers_differ(self) -> "CheckSettings":
        names = [*(name.rpartition(":")[2] for name in self.scorers), *self.scorer_models]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two scorers are called {twice!r}; scores have one name each")
        return self


class RetentionSettings(ValueObject):
    """How long things are kept."""

    orphan_hours: float = Field(default=24, ge=0, description="an object nothing refers to is removed after so long, h")
    on_demand_days: int = Field(default=30, ge=1, description="on-demand pictures may be removed after so long, days")
    editions: int = Field(default=2, ge=1, description="editions of a reseeded catalog that are kept")
    superseded_days: float = Field(default=7, ge=0, description="pictures that were replaced are kept so long, days")
    quarantine_days: int = Field(default=30, ge=1, description="quarantined pictures are removed after so long, days")
    retired_days: int = Field(default=30, ge=1, description="a retired catalog's pictures are removed after so long")


class AlertSettings(ValueObject):
    """Where failures are announced."""

    webhook_url: str = Field(default="", description="POSTed, signed, when a run fails; empty for none")
    secret: WebhookSecret = Field(
        default=SecretStr(""), description="whsec_… that signs alerts; only from IMAGEGENX_ALERTS__SECRET"
    )
    ui_url: str = Field(default="", description="how people reach Dagster's pages, for links; empty for no links")

    @model_validator(mode="after")
    def _is_signed(self) -> "AlertSettings":
        if self.webhook_url and not self.secret.get_secret_value():
            raise ValueError("webhook_url also needs secret; set the variable IMAGEGENX_ALERTS__SECRET")
        return self
