"""`imagegenx audit`: what the audit log of this home holds."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs.settings import load_settings
from imagegenx_cli.terminal import print_json, say_table
from resources.audit import open_audit

_COLUMNS = ("at", "event", "who")


@dataclass(frozen=True)
class Wanted:
    """Which events: by the beginning of their name, by who, of the last `days`, the newest `limit`."""

    event: str
    who: str
    days: float | None
    limit: int

    def fits(self, event: Mapping[str, object]) -> bool:
        """Whether an event is one of these."""
        since = datetime.now(UTC) - timedelta(days=self.days) if self.days is not None else None
        return (
            str(event["event"]).startswith(self.event)
            and self.who in ("", event["who"])
            and (since is None or datetime.fromisoformat(str(event["at"])) >= since)
        )


def show_audit(wanted: Wanted, *, as_json: bool) -> None:
    """Print the events that are wanted, oldest first."""
    events = deque(filter(wanted.fits, open_audit(load_settings()).read()), maxlen=wanted.limit)
    if as_json:
        print_json(list(events))
        return
    say_table([(*_COLUMNS, "what"), *((*(str(event[name]) for name in _COLUMNS), _what(event)) for event in events)])


def _what(event: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in event.items() if name not in _COLUMNS)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
