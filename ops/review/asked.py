"""What people ask of a catalog on its page: other prompts, new seeds, earlier pictures back.

Each wish is an object of its own, so that two people at once lose nothing; the sensor `asked_changes` hands it to the
catalog's edition, has that made, and removes it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

from foundation.map_ahead import map_ahead
from ops.editions import RowChange, request_changes, request_edition
from resources.object_store import ObjectStore
from resources.stored_json import get_json, put_json

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
        put_json(store, self.key, asdict(self))

    def hand_over(self, store: ObjectStore) -> None:
        """Have the catalog's next edition be so; doing it again changes nothing."""
        if self.rows:
            request_changes(store, self.catalog, self.rows, self.id)
        else:
            request_edition(store, self.catalog, self.id)


def asked_changes(store: ObjectStore, catalog: str = "") -> Iterator[Asked]:
    """What was asked for and is not being made yet, of one catalog or of all."""
    keys = [found.key for found in store.list(f"{ASKED}{catalog}/" if catalog else ASKED)]
    for _, given in map_ahead(partial(get_json, store), keys):
        if given:  # not handed over since it was listed
            rows = {row: RowChange(**change) for row, change in given["rows"].items()}
            yield Asked(**{**given, "rows": rows})
