"""Detectors as operators would write them, good and bad; each works in a process of its own."""

import os

from models.errors import ModelError


class Colours:
    """How red and how blue a picture is, on the whole."""

    classes = ("RED", "BLUE")

    @classmethod
    def release(cls):
        """See `Detector`."""
        return "1"

    def scores(self, pixels):
        """See `Detector`."""
        red, _, blue = pixels.mean((0, 1)) / 255
        return {"RED": red, "BLUE": blue}


class Dying(Colours):
    """Takes its process along when it sees blue."""

    def scores(self, pixels):
        """See `Detector`."""
        seen = super().scores(pixels)
        if seen["BLUE"] > 0.5:
            os._exit(3)
        return seen


class Endless(Colours):
    """Never comes to an end."""

    def scores(self, pixels):
        """See `Detector`."""
        while True:
            pass


class Failing(Colours):
    """Has no word for anything."""

    def scores(self, pixels):
        """See `Detector`."""
        raise RuntimeError("out of words")


class Unmade(Colours):
    """Cannot be made, like a network whose weights are damaged."""

    def __init__(self):
        raise OSError("weights.onnx is no network")


class Silent(Colours):
    """Tells of some classes only."""

    def scores(self, pixels):
        """See `Detector`."""
        return {"BLUE": 0.0}


class Unsure(Colours):
    """Tells no numbers."""

    def scores(self, pixels):
        """See `Detector`."""
        return {"RED": float("nan"), "BLUE": 0.0}


class Missing(Colours):
    """Lacks what it needs."""

    @classmethod
    def release(cls):
        """See `Detector`."""
        raise ModelError("needs the package colours.")
