"""What a sensor remembers from tick to tick, in the store: Dagster writes the whole cursor into every tick's row."""

import hashlib
import json
import re
import time
from dataclasses import dataclass

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

    def read(self, cursor: str) -> str:
        """What `keep` was given; "" if it is gone, damaged or no JSON: the sensor goes on from what Dagster remembers.

        Raises:
            StoreError: if it cannot be read now, which fails the tick.
        """
        reference = _REFERENCE.fullmatch(cursor)
        if reference is None:
            return cursor if _is_json(cursor) else ""
        try:
            content = self._store.get(self._key(reference[1]))
        except ObjectNotFoundError:
            return ""
        if _digest(content) != reference[1]:
            return ""
        self._name(content)
        return content.decode()

    def keep(self, memory: str) -> str:
        """The cursor of a memory, which is stored when this returns."""
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


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


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
