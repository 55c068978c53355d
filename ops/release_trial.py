"""A new release on trial: made for a share of a catalog's rows, whose pictures people compare and judge.

The yardstick are the rows that people had approved with an earlier release.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ops.releases import CurrentReleases, refreshed_rows
from ops.review.verdicts import NOTHING_SAID, CatalogVerdicts, State
from resources.object_store import ObjectStore


@dataclass(frozen=True)
class Trial:
    """How far the trial of what is current is in one catalog.

    Attributes:
        rows: so many it is tried on; stale: those of them that are still to be made.
        approved, rejected: so many of the new pictures.
    """

    catalog: str
    rows: int
    stale: Sequence[str]
    approved: int
    rejected: int

    def is_passed(self, share: float) -> bool:
        """Whether every picture has a verdict, and at least this share is approved."""
        return self.approved + self.rejected == self.rows and self.approved >= share * self.rows

    def __str__(self) -> str:
        waiting = self.rows - self.approved - self.rejected
        return f"{self.catalog}: {self.approved} of {self.rows} approved, {self.rejected} rejected, {waiting} wait"


def release_trial(store: ObjectStore, catalog: str, current: CurrentReleases, share: float) -> Trial:
    """The trial on this share of a catalog's approved rows, always the same ones; of all, if none was approved."""
    said = CatalogVerdicts(store, catalog)
    held, known = said.standings(), said.all()
    approved = {one.row for one in known if held[one.recipe].state is State.APPROVED}
    fresh = {row.row_id: old == new and row.recipe_digest for row, old, new in refreshed_rows(store, catalog, current)}
    yardstick = [row_id for row_id in fresh if row_id in approved] or list(fresh)
    chosen = sorted(yardstick, key=_place)[: ceil(share * len(yardstick))]
    stale = [row_id for row_id in chosen if not fresh[row_id]]
    states = Counter(held.get(fresh[row_id] or "", NOTHING_SAID).state for row_id in chosen)
    return Trial(catalog, len(chosen), stale, states[State.APPROVED], states[State.REJECTED])


def _place(row_id: str) -> bytes:
    return hashlib.sha256(row_id.encode()).digest()
