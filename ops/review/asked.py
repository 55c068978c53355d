"""What people ask of a catalog on its page: other prompts, new seeds, earlier pictures back.

Each wish is an object of its own, so that two people at once lose nothing; the sensor `asked_changes` hands it to the
catalog's edition, has that made, and removes it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from foundation.map_ahead import map_ahead
from ops.editions import RowChange, request_changes, request_edition
from resources.object_store import ObjectNotFoundError, ObjectStore

ASKED = "asked/"


@dataclass(frozen=True)
class Asked:
    """One wish: some rows made as these changes say, or, without any, all of them with new seeds.

    Attributes:
        id: unique; the same wish sent twice is one. by: who; at_s: when, in s since 1970.
    """

    catalog: str
    id: str
    by: str
    at_s: float
    rows: Mapping[str, RowChange] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its object."""
        return f"{ASKED}{self.catalog}/{self.id}.json"

    def keep(self, store: ObjectStore) -> None:
        """Store it; it is known to the sensor once this returns."""
        store.put(self.key, json.dumps(asdict(self)).encode(), content_type="application/json")

    def hand_over(self, store: ObjectStore) -> None:
        """Have the catalog's next edition be so; doing it again changes nothing."""
        if self.rows:
            request_changes(store, self.catalog, self.rows, self.id)
        else:
            request_edition(store, self.catalog, self.id)


def asked_changes(store: ObjectStore, catalog: str = "") -> Iterator[Asked]:
    """What was asked for and is not being made yet, of one catalog or of all."""
    keys = [found.key for found in store.list(f"{ASKED}{catalog}/" if catalog else ASKED)]
    return (one for _, one in map_ahead(lambda key: _read(store, key), keys) if one)


def _read(store: ObjectStore, key: str) -> Asked | None:
    try:
        given = json.loads(store.get(key))
    except ObjectNotFoundError:  # handed over since it was listed
        return None
    return Asked(**{**given, "rows": {row: RowChange(**change) for row, change in given["rows"].items()}})
