"""`imagegenx usage`: what users and catalogs have used, from the ledger."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from configs.settings import load_settings
from foundation.errors import ImageGenXError
from imagegenx_cli.terminal import print_json, say_table
from resources.open_store import open_store
from resources.queue import UsageEntry, open_queue
from resources.usage_ledger import UsageLedger

KINDS = ("owner", "day", "model", "release", "status")


class BadPeriodError(ImageGenXError):
    """The days or kinds asked for are none."""


@dataclass
class Sum:
    """What was used by one kind."""

    tasks: int = 0
    pictures: int = 0
    gpu_s: float = 0.0
    bytes: int = 0
    cost: float = 0.0

    def add(self, entry: UsageEntry, price_per_gpu_s: float) -> None:
        """Count an entry."""
        self.tasks += 1
        self.pictures += entry.pictures
        self.bytes += entry.bytes
        self.gpu_s += entry.gpu_ms / 1000
        self.cost = self.gpu_s * price_per_gpu_s


def show_usage(since: str, until: str, by: str, *, as_json: bool) -> None:
    """Print the sums of the days from `since` to `until` (YYYY-MM-DD; this month so far) by these kinds."""
    kinds = [kind.strip() for kind in by.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BadPeriodError(f"--by {unknown[0]}: sums can be by {', '.join(KINDS)}, or several of them with commas.")
    today = datetime.now(UTC).date()
    first, last = _day(since) or today.replace(day=1), _day(until) or today
    settings = load_settings()
    queue = open_queue(settings)
    try:
        ledger = UsageLedger(open_store(settings.store), queue)
        ledger.collect()
        sums: dict[tuple[str, ...], Sum] = {}
        for entry in ledger.entries(first, last):
            sums.setdefault(_kind(entry, kinds), Sum()).add(entry, settings.usage.price_per_gpu_s)
    finally:
        queue.close()
    _show(kinds, sums, settings.usage.currency, as_json=as_json)


def _show(kinds: Sequence[str], sums: dict[tuple[str, ...], Sum], currency: str, *, as_json: bool) -> None:
    rows = sorted(sums.items())
    if as_json:
        found = [{**dict(zip(kinds, kind, strict=True)), **asdict(one), "currency": currency} for kind, one in rows]
        print_json(found)
        return
    table = [
        (*kind, str(s.tasks), str(s.pictures), f"{s.gpu_s:.1f}", str(s.bytes), f"{s.cost:.4f}") for kind, s in rows
    ]
    say_table([(*kinds, "tasks", "pictures", "GPU s", "bytes", f"cost {currency}"), *table])


def _kind(entry: UsageEntry, kinds: Sequence[str]) -> tuple[str, ...]:
    day = datetime.fromtimestamp(entry.ended_at_s, UTC).strftime("%Y-%m-%d")
    return tuple(day if kind == "day" else str(getattr(entry, kind))[:40] for kind in kinds)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadPeriodError(f"{text[:40]!r} is not a day like 2026-11-30.") from None
