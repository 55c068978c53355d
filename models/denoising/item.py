"""What a batch is made of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class BatchItem:
    """One picture to make; input pictures are RGB (the mask L) and already of the recipe's size."""

    recipe: Recipe
    image: "Image | None" = None
    mask: "Image | None" = None
    control: "Image | None" = None
