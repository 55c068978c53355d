"""What users and catalogs have used: recorded in the step that ends a task, whichever workers it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from foundation.value_object import ValueObject
from resources.queue.link import RedisLink

DAY_S = 24 * 3600


class UsageEntry(ValueObject):
    """One ended task in the ledger; `id` is unique, and begins with when it ended, in ms of Unix time."""

    id: str
    task: str
    owner: str
    model: str
    release: str
    status: str
    pictures: int
    bytes: int
    gpu_ms: int

    @property
    def ended_at_s(self) -> float:
        """Unix time."""
        return int(self.id.partition("-")[0]) / 1000


@dataclass(frozen=True)
class Used:
    """What somebody has used in some time."""

    pictures: int = 0
    bytes: int = 0
    gpu_ms: int = 0

    @property
    def gpu_s(self) -> float:
        """Seconds of GPUs."""
        return self.gpu_ms / 1000


@dataclass(frozen=True)
class OwnerUsage:
    """What one owner has used by day (days since 1970, UTC), and how many pictures are asked for and not made yet."""

    days: Mapping[int, Used]
    open: int

    def within(self, first: int, end: int) -> Used:
        """The sum over the days from `first` to before `end`."""
        days = [used for day, used in self.days.items() if first <= day < end]
        return Used(*(sum(getattr(used, name) for used in days) for name in ("pictures", "bytes", "gpu_ms")))


@dataclass(frozen=True)
class SpendingLimit:
    """What an owner may use, of the first day to before the last one (days since 1970, UTC)."""

    name: str
    counts: Literal["pictures", "gpu_ms"]
    first: int
    before: int
    most: int
    each: int
    """What one more picture should take."""


class UsageRecords:
    """A part of the request queue."""

    _link: RedisLink

    def used(self, owner: str) -> OwnerUsage:
        """What an owner has used in the last two months."""
        key = f"{self._link.prefix}usage:{owner}"
        found: dict[str, str] = self._link.call(lambda client: cast("Any", client.hgetall(key)))
        days: dict[int, dict[str, int]] = {}
        for field, value in found.items():
            day, mark, name = field.partition(":")
            if mark:
                days.setdefault(int(day), {})[name] = int(value)
        return OwnerUsage({day: Used(**used) for day, used in days.items()}, max(0, int(found.get("open", 0))))

    def usage_entries(self, most: int) -> Sequence[UsageEntry]:
        """The oldest entries that are not in the ledger yet."""
        key = f"{self._link.prefix}usage"
        found = self._link.call(lambda client: cast("Any", client.xrange(key, count=most)))
        return [UsageEntry.model_validate({"id": id, **fields}) for id, fields in found]

    def forget_entries(self, ids: Sequence[str]) -> None:
        """They are in the ledger."""
        self._link.call(lambda client: client.xdel(f"{self._link.prefix}usage", *ids))

    def restore_usage(self, entries: Iterable[UsageEntry]) -> bool:
        """Have a Redis that has lost all of it know what was used; False if it has not."""
        key = f"{self._link.prefix}usage_kept"
        if self._link.call(lambda client: client.exists(key)):
            return False
        sums: dict[tuple[str, str], int] = {}
        for entry in entries:
            for name in ("pictures", "bytes", "gpu_ms"):
                field = (entry.owner, f"{int(entry.ended_at_s // DAY_S)}:{name}")
                sums[field] = sums.get(field, 0) + getattr(entry, name)

        def write(client: Any) -> None:
            with client.pipeline(transaction=False) as pipeline:
                for (owner, field), value in sums.items():
                    pipeline.hsetnx(f"{self._link.prefix}usage:{owner}", field, value)
                pipeline.set(key, "1")
                pipeline.execute()

        self._link.call(write)
        return True
