"""Moderation: a moderator of the operator's choice says which pictures may be published.

Off unless `checks.moderation` names one. Words of `checks.blocked_words` come first, whoever moderates: a request that
has them is refused when it is submitted, a catalog's row when it is planned, and nothing is painted for it.

Catalog runs review every picture as soon as it is generated, before any later stage sees it. A serving run does the
same with one call, in front of post-processing and storing::

    moderation = open_moderation(settings.checks, store)      # once; None means off
    if moderation:
        moderation.review(original_key, image, recipe)        # PictureRejectedError: fail the task with its text

A rejected picture goes to quarantine (see `ops.quarantine`), and nowhere else. What later stages made of it before goes
from the store with the next run, even if that leaves a catalog without pictures.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from configs.lifecycle_settings import CheckSettings
from foundation.error_text import cause_text
from foundation.errors import FailureCause, ImageGenXError, told
from models.blocklist import Blocklist
from models.decoding.pool import ask
from models.encoding import rgb_picture
from ops.quarantine import QUARANTINE, Quarantine, Quarantined
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.detector import Detector
    from models.recipe import Recipe

logger = logging.getLogger(__name__)

NO_WORDS = Blocklist(())
_MOST_PIXELS = 16_000_000
"""The memory of so many is a detector's to take, beside its picture's."""
UNJUDGED = ", which could not judge it"
"""After a moderator's stamp, with `checks.moderation_fails: open`."""


class ModerationError(ImageGenXError):
    """There is no such moderator, or it could not judge a picture, which is then not published."""

    cause = FailureCause.MODERATION


class PictureRejectedError(ImageGenXError):
    """The moderator says that a picture may not be published; it is in quarantine."""

    cause = FailureCause.MODERATION


@dataclass(frozen=True)
class Verdict:
    """Whether a picture may be published, and if not, why: for the person who asked for it.

    Attributes:
        scores: by class, 0 to 1, of a moderator that gives any.
        margin: how far the nearest of them is from its limit, 0 to 1.
        released_by: the person who allows what the moderator does not.
    """

    allowed: bool
    reasons: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    released_by: str = ""

    def to_json(self) -> str:
        """What a manifest keeps of it; "" if that is nothing."""
        said = {"scores": self.scores, "margin": self.margin, "released_by": self.released_by}
        kept = {name: value for name, value in said.items() if value not in (None, "", {})}
        return json.dumps(kept) if kept else ""


@dataclass(frozen=True)
class Allowed:
    """The moderator that allowed a picture, with its version, "" if none was asked, and its verdict as JSON."""

    by: str = ""
    verdict: str = ""


NOBODY = Allowed()
"""Need be asked."""


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


class DetectorModerator:
    """Rejects pictures in which a detector sees more of something than `checks.reject_above` allows.

    The detector works in processes of its own: it may crash and hang without harm to others.

    Args:
        name: of the detector, as `module:Class`.
    Raises:
        ModerationError: if it cannot work here, or has no such class as a limit names.
    """

    def __init__(self, name: str, detector: type[Detector], settings: CheckSettings) -> None:
        self._name, self._limits = name, settings.reject_above
        try:
            release = detector.release()
        except ImageGenXError as exc:
            raise ModerationError(f"checks.moderation '{settings.moderation}': {exc}") from exc
        if unknown := sorted(self._limits.keys() - set(detector.classes)):
            known = ", ".join(detector.classes)
            raise ModerationError(
                f"checks.reject_above: {settings.moderation} has no class {unknown[0]}; it has {known}."
            )
        limits = json.dumps(self._limits, sort_keys=True).encode()
        self.version = f"{release}-{hashlib.sha256(limits).hexdigest()[:8]}"

    def judge(self, picture: Image, recipe: Recipe) -> Verdict:
        """See `Moderator.judge`."""
        about = json.dumps({"detector": self._name, "size": picture.size})
        answer = ask("detect", picture.tobytes(), _MOST_PIXELS, about)
        scores: dict[str, float] = {name: answer.head["scores"][name] for name in self._limits}
        seen = [(name, scores[name], limit) for name, limit in self._limits.items()]
        reasons = tuple(f"{name} {score:.2f}, above {limit:.2f}" for name, score, limit in seen if score > limit)
        margin = min((1 - score / limit for _, score, limit in seen), default=1.0)
        return Verdict(not reasons, reasons, scores, round(max(margin, 0.0), 3))


NAMED = {"blocklist": "ops.moderation:WordModerator", "nudenet": "models.nudenet:NudeNet"}
"""Moderators, and detectors, whose classes have a method `scores`, by name; any other is given as `module:Class`."""


class Moderation:
    """A moderator at work on a store.

    Args:
        name: what the verdicts in quarantine call it.
        blocklist: words that no request may have; looked for before anything is painted.
    """

    def __init__(
        self,
        moderator: Moderator,
        name: str,
        store: ObjectStore,
        blocklist: Blocklist = NO_WORDS,
        *,
        fails_open: bool = False,
    ) -> None:
        self.stamp = f"{name} {moderator.version}"
        self.blocklist = blocklist
        self._moderator = moderator
        self._name = name
        self._quarantine = Quarantine(store)
        self._fails_open = fails_open

    def review(self, key: str, picture: Image | NDArray[np.uint8], recipe: Recipe) -> Allowed:
        """Judge a picture that is to be stored under `key`.

        Args:
            picture: any Pillow image, or uint8 of shape (H, W, 3).
        Raises:
            PictureRejectedError: if it may not be published; it is in quarantine then, and no longer under `key`.
            ModerationError: if the moderator fails; nothing is stored or removed then.
        """
        image = rgb_picture(picture)
        try:
            verdict = self._moderator.judge(image, recipe)
        except Exception as exc:  # whatever a moderator dies of, the picture must not be published unjudged
            error = f"moderator '{self._name}' could not judge the picture: {told(exc)}"
            if not self._fails_open:
                raise ModerationError(error) from exc
            logger.warning("%s; it is published nonetheless, as checks.moderation_fails says.", error)
            return Allowed(self.stamp + UNJUDGED)
        if verdict.allowed:
            return Allowed(self.stamp, verdict.to_json())
        if person := self._quarantine.released_by(recipe):
            return Allowed(self.stamp, replace(verdict, released_by=person).to_json())
        rejected = Quarantined(key, self.stamp, verdict.reasons, recipe.to_json(), verdict.scores)
        self._quarantine.put(rejected, image)
        raise PictureRejectedError(self._text(key, verdict.reasons))

    def known_rejection(self, key: str) -> str:
        """Why this moderator, in this version, rejected the picture of `key` before; "" if it did not."""
        found = self._quarantine.find(key)
        return self._text(key, found.reasons) if found and found.moderator == self.stamp else ""

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
    name = settings.moderation
    make = _named_class(NAMED.get(name, name))
    words, fails_open = Blocklist(settings.blocked_words), settings.moderation_fails == "open"
    return Moderation(make(settings), name, store, words, fails_open=fails_open)


def _named_class(name: str) -> Callable[[CheckSettings], Moderator]:
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ModerationError(
            f"checks.moderation '{name}': not one of {', '.join(NAMED)}, nor written as module:Class."
        )
    try:
        made: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ModerationError(
            f"checks.moderation '{name}': {cause_text(exc)}. Install it, or correct the name."
        ) from exc
    return partial(DetectorModerator, name, made) if hasattr(made, "scores") else made
