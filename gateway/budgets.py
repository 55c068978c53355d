"""Budgets: whether a user may spend what a submission would, asked before it is queued."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from configs.usage_settings import UsageSettings
from gateway.errors import ServiceError
from resources.accounts import Account
from resources.queue import DAY_S, BudgetError, OwnerUsage, RequestQueue, SpendingLimit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Period:
    """A day or a month, UTC, as days since 1970."""

    name: str
    first: int
    end: int

    @property
    def ends_in_s(self) -> int:
        """From now."""
        return max(1, math.ceil(self.end * DAY_S - time.time()))


@dataclass(frozen=True)
class Limit:
    """One limit of a budget, in pictures or GPU seconds, with what is used of it and what is asked for already."""

    name: str
    period: Period
    most: float
    used: float
    asked: float
    each: float
    """What one more picture should take."""
    is_soft_reached: bool

    @property
    def left(self) -> float:
        """What may still be asked for."""
        return max(0.0, self.most - self.used - self.asked)

    def to_keep(self) -> SpendingLimit:
        """For the queue."""
        counts: Literal["pictures", "gpu_ms"] = "pictures" if self.name.startswith("pictures") else "gpu_ms"
        scale = 1 if counts == "pictures" else 1000
        most, each = round(scale * self.most), round(scale * self.each)
        return SpendingLimit(self.name, counts, self.period.first, self.period.end, most, each)


class Budgets:
    """The budgets of all users."""

    def __init__(self, settings: UsageSettings, queue: RequestQueue) -> None:
        self._settings, self._queue = settings, queue

    def limits(self, account: Account) -> list[Limit]:
        """The limits of a user and where each is; none of a user without a budget, who costs no look at Redis."""
        budget = self._settings.budget(account.user_id, account.role)
        fields = budget.model_dump(exclude={"soft_share"}, exclude_none=True)
        if not fields:
            return []
        usage = self._queue.used(account.user_id)
        return [self._limit(name, most, budget.soft_share, usage) for name, most in fields.items()]

    @contextmanager
    def kept(self, account: Account, pictures: int) -> Iterator[list[SpendingLimit]]:
        """The limits for the queue, which refuses to go beyond them in the step that would accept so many pictures.

        Raises:
            ServiceError: 429 beyond a number of pictures, 402 beyond GPU seconds.
        """
        limits = self.limits(account)
        for limit in limits:
            if limit.is_soft_reached:
                share = 100 * (limit.used + limit.asked) / limit.most if limit.most else 100
                logger.warning("user %s has used %.0f %% of %s", account.user_id, share, limit.name)
        try:
            yield [limit.to_keep() for limit in limits]
        except BudgetError as exc:
            raise next(_refusal(limit, pictures) for limit in self.limits(account) if limit.name == exc.name) from exc

    def _limit(self, name: str, most: float, soft_share: float, usage: OwnerUsage) -> Limit:
        period = day() if name.endswith("day") else month()
        used = usage.within(period.first, period.end)
        is_pictures = name.startswith("pictures")
        spent, each = (used.pictures, 1.0) if is_pictures else (used.gpu_s, self._gpu_s(usage))
        asked = usage.open * each
        return Limit(name, period, most, spent, asked, each, spent + asked >= soft_share * most)

    def _gpu_s(self, usage: OwnerUsage) -> float:
        """What one more picture should take."""
        used = usage.within(month().first, month().end)
        return used.gpu_s / used.pictures if used.pictures else self._settings.assumed_gpu_s


def day() -> Period:
    """Today."""
    today = int(time.time() // DAY_S)
    return Period("day", today, today + 1)


def month() -> Period:
    """This month."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = (first + timedelta(days=32)).replace(day=1)
    return Period("month", *(int(at.timestamp() // DAY_S) for at in (first, after)))


def rate_limit_headers(limits: list[Limit]) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) of a user's limits."""
    if not limits:
        return {}
    policies = [f'"{one.name}";q={int(one.most)};w={(one.period.end - one.period.first) * DAY_S}' for one in limits]
    states = [f'"{one.name}";r={int(one.left)};t={one.period.ends_in_s}' for one in limits]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _refusal(limit: Limit, pictures: int) -> ServiceError:
    wanted = pictures * limit.each
    what, _, per = limit.name.partition("_per_")
    unit = "pictures" if what == "pictures" else "GPU seconds"
    text = (
        f"This would take {wanted:.6g} {unit}, but of the {limit.most:.6g} of this {per} {limit.left:.6g} are left. "
        f"Ask for less, or come back when the {per} is over (UTC)."
    )
    code = 429 if unit == "pictures" else 402
    return ServiceError(code, text, retry_after_s=limit.period.ends_in_s, headers=rate_limit_headers([limit]))
