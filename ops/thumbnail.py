"""Thumbnails, and the step they add to a picture's recipe."""

from typing import TYPE_CHECKING

from models.encoding import rgb_picture
from models.recipe import PostStep

if TYPE_CHECKING:
    from PIL.Image import Image


def thumbnail_step(side_px: int = 256) -> PostStep:
    """Return the recipe's step for `make_thumbnail`."""
    return PostStep(op="thumbnail", params={"side_px": side_px})


def make_thumbnail(image: "Image", side_px: int = 256) -> "Image":
    """Return an RGB copy that fits a square of `side_px`, its aspect ratio kept (Lanczos); never an enlarged one."""
    from PIL.Image import Resampling

    picture = rgb_picture(image)
    longest = max(picture.size)
    if longest <= side_px:
        return picture.copy()
    width, height = (max(round(side * side_px / longest), 1) for side in picture.size)
    return picture.resize((width, height), Resampling.LANCZOS)
