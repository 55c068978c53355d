"""Moderation: a moderator of the operator's choice says which pictures may be published.

Off unless `checks.moderation` names one. Words of `checks.blocked_words` come first, whoever moderates: a request that
has them is refused when it is submitted, a catalog's row when it is planned, and nothing is painted for it.

Catalog runs review every picture as soon as it is generated, before any later stage sees it. A serving run does the
same with one call, in front of post-processing and storing::

    moderation = open_moderation(settings.checks, store)      # once; None means off
    if moderation:
        moderation.review(original_key, image, recipe)        # PictureRejectedError: fail the task with its text

A rejected picture goes to `quarantine/` below its own key, with the verdict as JSON beside it, and nowhere else. What
later stages made of it before goes from the store with the next run, even if that leaves a catalog without pictures.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from configs.lifecycle_settings import CheckSettings
from foundation.error_text import cause_text
from foundation.errors import FailureCause, told
from models.blocklist import Blocklist
from models.encoding import CONTENT_TYPES, encode_picture, rgb_picture
from models.errors import ImageGenXError
from resources.object_store import ObjectNotFoundError, ObjectStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.recipe import Recipe
    from models.request import ImageFormat

QUARANTINE = "quarantine/"
NO_WORDS = Blocklist(())
_QUALITY = 95


class ModerationError(ImageGenXError):
    """There is no such moderator, or it could not judge a picture, which is then not published."""

    cause = FailureCause.MODERATION


class PictureRejectedError(ImageGenXError):
    """The moderator says that a picture may not be published; it is in quarantine."""

    cause = FailureCause.MODERATION


@dataclass(frozen=True)
class Verdict:
    """Whether a picture may be published, and if not, why: for the person who asked for it."""

    allowed: bool
    reasons: tuple[str, ...] = ()


class Moderator(Protocol):
    """Judges pictures. Made once per process, with the `CheckSettings`; called from several threads.

    `version` changes whenever verdicts may: pictures that another version has judged are judged again.
    """

    version: str

    def judge(self, picture: Image, recipe: Recipe) -> Verdict:
        """The verdict on one generated picture (RGB, before post-processing) and what it was made from."""
        ...


class WordModerator:
    """Rejects pictures that were made from blocked words, before these were blocked. It looks at no picture itself."""

    def __init__(self, settings: CheckSettings) -> None:
        self._blocklist = Blocklist(settings.blocked_words)
        self.version = self._blocklist.version

    def judge(self, picture: Image, recipe: Recipe) -> Verdict:
        """See `Moderator.judge`."""
        found = dict.fromkeys([*self._blocklist.found(recipe.text), *self._blocklist.found(recipe.negative_text)])
        return Verdict(not found, tuple(f"the prompt has the blocked word '{word}'" for word in found))


BUILT_IN: dict[str, Callable[[CheckSettings], Moderator]] = {"blocklist": WordModerator}
"""Moderators by name; any other is `module:Class`, called with the `CheckSettings`."""


class Moderation:
    """A moderator at work on a store.

    Args:
        name: what the verdicts in quarantine call it.
        blocklist: words that no request may have; looked for before anything is painted.
    """

    def __init__(self, moderator: Moderator, name: str, store: ObjectStore, blocklist: Blocklist = NO_WORDS) -> None:
        self.stamp = f"{name} {moderator.version}"
        self.blocklist = blocklist
        self._moderator = moderator
        self._name = name
        self._store = store

    def review(self, key: str, picture: Image | NDArray[np.uint8], recipe: Recipe) -> None:
        """Judge a picture that is to be stored under `key`.

        Args:
            picture: any Pillow image, or uint8 of shape (H, W, 3).
        Raises:
            PictureRejectedError: if it may not be published; it is in quarantine then, and no longer under `key`.
            ModerationError: if the moderator fails; nothing is stored or removed then.
        """
        image = rgb_picture(picture)
        verdict = self._verdict(image, recipe)
        if verdict.allowed:
            return
        ending = cast("ImageFormat", key.rpartition(".")[2])
        data = encode_picture(image, ending, _QUALITY, recipe)
        self._store.put(QUARANTINE + key, data, content_type=CONTENT_TYPES[ending])
        record = {"moderator": self.stamp, "reasons": list(verdict.reasons), "recipe": recipe.to_json()}
        document = json.dumps(record, ensure_ascii=False, indent=1).encode()
        self._store.put(_verdict_key(key), document, content_type="application/json")
        self._store.delete(key)
        raise PictureRejectedError(self._text(key, verdict.reasons))

    def known_rejection(self, key: str) -> str:
        """Why this moderator, in this version, rejected the picture of `key` before; "" if it did not."""
        try:
            record = json.loads(self._store.get(_verdict_key(key)))
        except ObjectNotFoundError:
            return ""
        return self._text(key, record["reasons"]) if record["moderator"] == self.stamp else ""

    def _verdict(self, picture: Image, recipe: Recipe) -> Verdict:
        try:
            return self._moderator.judge(picture, recipe)
        except Exception as exc:  # whatever a moderator dies of, the picture must not be published unjudged
            reason = told(exc)
            raise ModerationError(f"moderator '{self._name}' could not judge the picture: {reason}") from exc

    def _text(self, key: str, reasons: Iterable[str]) -> str:
        why = "; ".join(reasons) or "no reason given"
        return f"rejected by moderator '{self._name}': {why}. The picture is kept at {QUARANTINE}{key}."


def open_moderation(settings: CheckSettings, store: ObjectStore) -> Moderation | None:
    """The configured moderator at work on a store; None if there is none.

    Raises:
        ModerationError: if there is no such moderator.
    """
    if not settings.moderation:
        return None
    make = BUILT_IN.get(settings.moderation) or _named_class(settings.moderation)
    return Moderation(make(settings), settings.moderation, store, Blocklist(settings.blocked_words))


def _named_class(name: str) -> Callable[[CheckSettings], Moderator]:
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(BUILT_IN)
        raise ModerationError(f"checks.moderation '{name}': not one of {known}, nor written as module:Class.")
    try:
        made: Callable[[CheckSettings], Moderator] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ModerationError(
            f"checks.moderation '{name}': {cause_text(exc)}. Install it, or correct the name."
        ) from exc
    return made


def _verdict_key(key: str) -> str:
    return f"{QUARANTINE}{key}.json"
