"""The ledger: what every ended task has cost, in the object store for good.

Entries come from the queue, where each is written in the step that ends its task. They are moved here in pieces that
are never changed again: `usage/<day>/<first entry>_<last entry>.jsonl`. Who is killed between writing a piece and
forgetting its entries leaves both: whoever reads counts each entry once.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from resources.object_store import ObjectStore
from resources.queue import RequestQueue, UsageEntry

FOLDER = "usage/"
PIECE = 5_000
"""Entries of one piece, at most."""


class UsageLedger:
    """The ledger of one store."""

    def __init__(self, store: ObjectStore, queue: RequestQueue) -> None:
        self._store, self._queue = store, queue

    def collect(self, at_least: int = 1, older_than_s: float = 0.0) -> int:
        """Move what the queue has to the store, if that is so many entries or the oldest is so old; how many."""
        moved = 0
        while entries := self._queue.usage_entries(PIECE):
            age_s = datetime.now(UTC).timestamp() - entries[0].ended_at_s
            if not moved and len(entries) < at_least and age_s < older_than_s:
                break
            for day, some in groupby(entries, key=_day):
                piece = list(some)
                text = "".join(f"{entry.model_dump_json()}\n" for entry in piece)
                key = f"{FOLDER}{day:%Y%m%d}/{piece[0].id}_{piece[-1].id}.jsonl"
                self._store.put(key, text.encode(), content_type="application/jsonl")
                self._queue.forget_entries([entry.id for entry in piece])
            moved += len(entries)
        return moved

    def entries(self, since: date, until: date) -> Iterator[UsageEntry]:
        """Every entry of the days from `since` to `until`, both among them, once each; those of a day in order."""
        for place in range((until - since).days + 1):
            found: dict[str, UsageEntry] = {}
            for stored in self._store.list(f"{FOLDER}{since + timedelta(place):%Y%m%d}/"):
                for line in self._store.get(stored.key).splitlines():
                    entry = UsageEntry.model_validate(json.loads(line))
                    found[entry.id] = entry
            yield from (found[id] for id in sorted(found))


def _day(entry: UsageEntry) -> date:
    return datetime.fromtimestamp(entry.ended_at_s, UTC).date()
