"""What a batch is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class BatchItem:
    """One picture to make; input pictures are RGB (the mask L), of the recipe's size and in its order."""

    recipe: Recipe
    image: "Image | None" = None
    mask: "Image | None" = None
    controls: "Sequence[Image]" = ()
