"""What a sensor remembers from tick to tick, in the store: Dagster writes the whole cursor into every tick's row."""

import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from resources.object_store import ObjectNotFoundError, ObjectStore

FOLDER = "sensors/"
SHORT = 500
"""A memory of at most so many letters is the cursor itself."""
UNNAMED_S = 3600
"""An object that no tick names is removed after so long, s."""

_REFERENCE = re.compile(r"kept:([0-9a-f]{32})")


class KeptMemory:
    """The memory of one sensor; its cursor holds a short one, or else the digest that names its object.

    A tick may be lost after it was evaluated, and is then evaluated again with the cursor before it; and people try
    ticks on Dagster's page. So an object is never written over, and goes when no tick has named it for an hour.

    Args:
        sensor: its name.
    """

    def __init__(self, store: ObjectStore, sensor: str) -> None:
        self._store, self._folder = store, f"{FOLDER}{sensor}/"

    def read(self, cursor: str | None) -> Any:
        """What `keep` was given; None if it is gone, damaged or no JSON: sensors go on from what Dagster remembers.

        Raises:
            StoreError: if it cannot be read now, which fails the tick.
        """
        content = (cursor or "").encode()
        with suppress(ObjectNotFoundError, ValueError):
            if reference := _REFERENCE.fullmatch(cursor or ""):
                content = self._store.get(self._key(reference[1]))
                if _digest(content) != reference[1]:
                    return None
                self._name(content)
            return json.loads(content)
        return None

    def keep(self, value: object) -> str:
        """The cursor of a memory, of what JSON knows; it is stored when this returns."""
        memory = json.dumps(value, sort_keys=True)
        if len(memory) <= SHORT:
            return memory
        content = memory.encode()
        self._name(content)
        unnamed_since_s = time.time() - UNNAMED_S
        for found in list(self._store.list(self._folder)):
            if found.written_s < unnamed_since_s:
                self._store.delete(found.key)
        return f"kept:{_digest(content)}"

    def _name(self, content: bytes) -> None:
        """See to it that an object is stored, and stays for a while: what is not young is written anew."""
        key = self._key(_digest(content))
        found = self._store.stat(key)
        if found is None or found.written_s < time.time() - UNNAMED_S / 2:
            self._store.put(key, content, content_type="application/json")

    def _key(self, digest: str) -> str:
        return f"{self._folder}{digest}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


_ROUND_S = 0.5
"""A look that falls due so shortly after the daemon's round belongs to that round."""


@dataclass(frozen=True)
class PacedCursor:
    """When a sensor last looked, by the clock, and what it remembers."""

    looked_at_s: float = 0.0
    memory: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "PacedCursor":
        """The cursor that `next` wrote; an empty one before the first look, and for what a person wrote instead."""
        looked_at_s, _, memory = (cursor or "").partition("\n")
        try:
            return cls(float(looked_at_s), memory)
        except ValueError:
            return cls()

    def is_due(self, interval_s: float) -> bool:
        """Whether the last look is `interval_s` ago."""
        return not 0 <= time.time() - self.looked_at_s < interval_s - _ROUND_S

    @staticmethod
    def next(memory: str) -> str:
        """The cursor of a look that is made now."""
        return f"{time.time():.3f}\n{memory}"
