"""Detectors: how much of each of some classes of things a picture shows, told by a network in a process of its own."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from foundation.errors import told
from models.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Detector(Protocol):
    """Looks at pictures. Made without arguments, once in each process that looks."""

    classes: ClassVar[tuple[str, ...]]
    """What it knows, by name."""

    @classmethod
    def release(cls) -> str:
        """Its version, another one whenever scores may differ. Raises ImageGenXError if it cannot work here."""

    def scores(self, pixels: "NDArray[np.uint8]") -> Mapping[str, float]:
        """How surely a picture, uint8 (H, W, 3), shows each of its classes: 0 to 1."""


def detect(about: str, data: bytes) -> dict[str, float]:
    """The scores of a picture, to three digits.

    Args:
        about: JSON: the `detector`, as `module:Class`, and the `size` of the picture.
        data: its pixels, RGB.
    Raises:
        ModelError: if the detector fails, or tells no number for one of its classes.
    """
    import numpy as np

    asked = json.loads(about)
    width, height = asked["size"]
    try:
        detector: Any = _detector(asked["detector"])
        seen = detector.scores(np.frombuffer(data, np.uint8).reshape(height, width, 3))
        scores = {name: round(float(seen[name]), 3) for name in detector.classes}
    except MemoryError:
        raise
    except Exception as exc:  # an operator's own class may raise anything
        raise ModelError(f"{told(exc)} (detector {asked['detector']})") from exc
    if wrong := [name for name, score in scores.items() if not isfinite(score)]:
        raise ModelError(f"the score of {wrong[0]} is {scores[wrong[0]]} (detector {asked['detector']})")
    return scores


@cache
def _detector(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)()
