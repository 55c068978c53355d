"""How long what is stored is kept."""

import math
import time
from dataclasses import dataclass

from configs.lifecycle_settings import RetentionSettings

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S
_UPLOAD_GRACE_S = _DAY_S
"""An upload may be stored a while before the task that names it."""


@dataclass(frozen=True)
class Retention:
    """The retention settings at one moment.

    Attributes:
        now_s: that moment, in seconds since 1970.
        active_since_s: when the oldest run that is still active began, by the same clock; None if there is none.
    """

    settings: RetentionSettings
    now_s: float
    active_since_s: float | None = None

    @classmethod
    def now(cls, settings: RetentionSettings, active_since_s: float | None = None) -> "Retention":
        """The settings applied now."""
        return cls(settings, time.time(), active_since_s)

    @property
    def orphans_before_s(self) -> float:
        """Only what was written before may be an orphan: what is younger may belong to an active run's next manifest.

        Whole seconds, since S3 tells no more than those.
        """
        since_s = self.now_s if self.active_since_s is None else min(self.now_s, self.active_since_s)
        return math.floor(since_s) - self.settings.orphan_hours * _HOUR_S

    @property
    def uploads_before_s(self) -> float:
        """Only uploads written before may go."""
        return min(self.orphans_before_s, self.now_s - _UPLOAD_GRACE_S)

    @property
    def on_demand_before(self) -> str:
        """Only on-demand pictures of days before this one may go; as `YYYYMMDD`, UTC."""
        return time.strftime("%Y%m%d", time.gmtime(self.now_s - self.settings.on_demand_days * _DAY_S))

    @property
    def superseded_before_s(self) -> float:
        """Manifests that were replaced before protect nothing any more."""
        since_s = self.now_s - self.settings.superseded_days * _DAY_S
        return since_s if self.active_since_s is None else min(since_s, self.active_since_s)

    @property
    def quarantined_before_s(self) -> float:
        """What came into quarantine before may go."""
        return self.now_s - self.settings.quarantine_days * _DAY_S

    @property
    def retired_before_s(self) -> float:
        """Catalogs whose retirement was first noticed before may go."""
        return self.now_s - self.settings.retired_days * _DAY_S
