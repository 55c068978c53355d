"""Quarantine: rejected pictures, kept with their verdicts until a person releases them or their time is over."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from models.encoding import CONTENT_TYPES, encode_picture
from models.recipe import Recipe
from resources.object_store import ObjectStore
from resources.stored_json import get_json, put_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.request import ImageFormat

QUARANTINE, RELEASED = "quarantine/", "released/"
DAMAGED = f"{QUARANTINE}damaged/"
"""Where files are that were no longer whole; no moderator has seen these."""
_QUALITY = 95


class NotInQuarantineError(ImageGenXError):
    """No rejected picture is kept under this name."""


@dataclass(frozen=True)
class Quarantined:
    """A rejected picture.

    Attributes:
        key: where it would have been stored; it is at `quarantine/` below that.
        moderator: who rejected it, with its version.
        recipe: what was generated, as JSON.
        scores: by class, of a moderator that gives any.
    """

    key: str
    moderator: str
    reasons: tuple[str, ...]
    recipe: str
    scores: Mapping[str, float] = field(default_factory=dict)


class Quarantine:
    """The rejected pictures of a store, and those that a person released."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, rejected: Quarantined, image: "Image") -> None:
        """Keep a picture here, and no longer where it would be published from."""
        ending = cast("ImageFormat", rejected.key.rpartition(".")[2])
        data = encode_picture(image, ending, _QUALITY, Recipe.from_json(rejected.recipe))
        self._store.put(QUARANTINE + rejected.key, data, content_type=CONTENT_TYPES[ending])
        put_json(self._store, _record_key(rejected.key), asdict(rejected))
        self._store.delete(rejected.key)

    def find(self, key: str) -> Quarantined | None:
        """The picture that would have been stored there; None if none was rejected."""
        given = get_json(self._store, _record_key(key))
        return Quarantined(**{**given, "key": key, "reasons": tuple(given["reasons"])}) if given else None

    def all(self) -> Iterator[Quarantined]:
        """Every rejected picture."""
        keys = (found.key for found in self._store.list(QUARANTINE) if found.key.endswith(".json"))
        names = (key.removeprefix(QUARANTINE).removesuffix(".json") for key in keys if not key.startswith(DAMAGED))
        return (found for _, found in map_ahead(self.find, names) if found)

    def get(self, key: str) -> Quarantined:
        """The picture that would have been stored there.

        Raises:
            NotInQuarantineError: if there is no such picture.
        """
        if (found := self.find(key)) is None:
            raise NotInQuarantineError(f"'{key}': not in quarantine. `imagegenx quarantine list` tells what is.")
        return found

    def release(self, found: Quarantined, by: str, why: str) -> None:
        """Allow a picture for good, whatever moderators say: the next run, or the same request again, makes it."""
        said = {"by": by, "why": why, "at_s": time.time(), **asdict(found)}
        put_json(self._store, _release_key(Recipe.from_json(found.recipe)), said)
        self._store.delete(QUARANTINE + found.key)
        self._store.delete(_record_key(found.key))

    def released_by(self, recipe: Recipe) -> str:
        """Who released the picture of a recipe; "" if nobody did."""
        released = get_json(self._store, _release_key(recipe))
        return str(released["by"]) if released else ""


def _record_key(key: str) -> str:
    return f"{QUARANTINE}{key}.json"


def _release_key(recipe: Recipe) -> str:
    return f"{RELEASED}{recipe.digest}.json"
