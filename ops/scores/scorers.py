"""Scorers by name: each gives one number for one fault that a picture may have, 0 (surely) to 1 (surely not).

What a scorer cannot tell, such as where the product of a street scene ends, it does not score.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from configs.lifecycle_settings import CheckSettings
from foundation.errors import ImageGenXError
from foundation.problems import one_of

if TYPE_CHECKING:
    from ops.scores.seen import Seen


class UnknownScorerError(ImageGenXError):
    """There is no scorer of this name, or it lacks what it needs."""


class Scorer(Protocol):
    """A score of a picture; None where it cannot tell."""

    def __call__(self, seen: "Seen") -> float | None: ...


_LOOKS = ("contrast", "sharpness", "background", "colour", "cut_off")
SCORERS: Mapping[str, str] = {
    **{name: f"ops.scores.looks:{name}" for name in _LOOKS},
    "adherence": "ops.scores.adherence:adherence",
    "lettering": "ops.scores.lettering:lettering",
}
"""Those that come along; others are named as `module:function`."""


def scorer_names(settings: CheckSettings) -> list[str]:
    """What the scores that the settings ask for are called."""
    return [*(name.rpartition(":")[2] for name in settings.scorers), *settings.scorer_models]


def open_scorers(settings: CheckSettings) -> dict[str, Scorer]:
    """The scorers that the settings ask for, by what their scores are called.

    Raises:
        UnknownScorerError: if one is not there, or a package or weights that it needs.
    """
    named = [_opened(f"checks.scorers: {name!r}", partial(_function, name)) for name in settings.scorers]
    models = settings.scorer_models.items()
    weighed = [_opened(f"checks.scorer_models.{name}: {file}", partial(_likeness, file)) for name, file in models]
    return dict(zip(scorer_names(settings), [*named, *weighed], strict=True))


def _opened(what: str, find: Callable[[], Scorer]) -> Scorer:
    try:
        return find()
    except (ImportError, AttributeError, TypeError, OSError) as exc:
        raise UnknownScorerError(f"{what} cannot be used: {exc}") from exc


def _function(name: str) -> Scorer:
    if ":" not in name and name not in SCORERS:
        raise UnknownScorerError(f"checks.scorers: {one_of(name, SCORERS)}; or give module:function")
    module, _, function = SCORERS.get(name, name).partition(":")
    found: Any = getattr(import_module(module), function)
    if not callable(found):
        raise TypeError(f"{function} is no function")
    return cast("Scorer", found)


def _likeness(folder: Path) -> Scorer:
    from ops.scores.likeness import Likeness

    return Likeness(folder)
