"""Catalog rows as the file gives them, before any rule is checked."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ops.catalog.pictures import CatalogPicture

_NOWHERE_ELSE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row: the cells it gives itself, and the place to blame for them.

    `origins` names another place for columns that many rows share, such as the axes of a template; `carried` are cells
    that travel along and decide nothing.
    """

    where: str
    cells: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=lambda: _NOWHERE_ELSE)
    carried: Mapping[str, str] = field(default_factory=lambda: _NOWHERE_ELSE)

    @property
    def digest(self) -> str:
        """16 hex digits that stay the same while the row's own cells do."""
        given = {name: cell for name, cell in self.cells.items() if cell.strip()}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CatalogSchedule:
    """When the catalog is refreshed: a cron line, its time zone, and whether unchanged rows get new seeds."""

    cron: str
    timezone: str = "UTC"
    policy: str = "changed"


@dataclass(frozen=True)
class ReviewPolicy:
    """Whether only approved pictures are published, how often a rejected one is made again, and who is asked.

    Attributes:
        flagged: people are asked only of pictures that a scorer doubts.
    """

    required: bool = False
    remake: int = 0
    owner: str = ""
    flagged: bool = False

    @property
    def word(self) -> str:
        """As catalogs say it."""
        return "flagged" if self.flagged else "required" if self.required else "none"


NO_REVIEW = ReviewPolicy()


@dataclass(frozen=True)
class CatalogTerms:
    """What a catalog file says of when the catalog is made, and of its review.

    `freshness_hours`: it is stale if it has not been made for so long, h; 0 for never, None for the settings'.
    """

    schedule: CatalogSchedule | None = None
    freshness_hours: float | None = None
    review: ReviewPolicy = NO_REVIEW


NO_TERMS = CatalogTerms()


@dataclass(frozen=True)
class RawCatalog:
    """What a catalog file says: `defaults` are cells for all rows; `rows` may be read once.

    `files`: what it is made from beside itself, and what goes where it goes.
    """

    rows: Iterable[RawRow] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    terms: CatalogTerms = NO_TERMS
    files: tuple[CatalogPicture, ...] = ()
