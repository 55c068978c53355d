"""Input pictures made ready for a model: right colours, right size, mask and picture aligned."""

from typing import TYPE_CHECKING

from models.encoding import laid_on, rgb_picture
from models.errors import PictureError
from models.resolution import Resolution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.control import ControlPreprocess

    Edges = tuple[NDArray[np.int_], NDArray[np.int_]]

PAINTED = 128
"""From this value of 255 on, a mask's pixel is painted anew."""
_CLOSE = 1e-6
"""Of a px: so much of a pixel is an error of rounding."""


def fit_picture(image: "Image", size: Resolution) -> "Image":
    """RGB of exactly `size`: transparency over white, the middle cut out where the aspect ratio differs."""
    from PIL import Image, ImageOps

    return ImageOps.fit(rgb_picture(image), (size.width_px, size.height_px), Image.Resampling.LANCZOS)


def fit_mask(mask: "Image", picture: tuple[int, int], size: Resolution) -> "Image":
    """The mask (L; white is painted anew) laid over a picture and cut as `fit_picture` cuts that.

    Transparency counts as black. Each pixel is the brightest of those that fall on it, so that no stroke gets lost.

    Args:
        picture: width and height of the picture in px.
    Raises:
        PictureError: if nothing in what is left of it is white enough to be painted.
    """
    import numpy as np
    from PIL import Image

    levels = np.asarray(laid_on(mask, "black").convert("L"))
    rows, columns = _cut(levels.shape, picture, size)
    fitted = _brightest(_brightest(levels, rows).T, columns).T
    if fitted.max() < PAINTED:
        raise PictureError(_nothing_masked(int(levels.max())))
    return Image.fromarray(np.ascontiguousarray(fitted))


def _cut(mask: tuple[int, ...], picture: tuple[int, int], size: Resolution) -> "tuple[Edges, Edges]":
    """Where the rows and columns of the fitted mask begin and end in the mask, in its px."""
    import numpy as np

    height, width = mask
    scale = min(picture[0] / size.width_px, picture[1] / size.height_px)
    edges = []
    for across, whole, wanted in ((height, picture[1], size.height_px), (width, picture[0], size.width_px)):
        left = (whole - wanted * scale) / 2
        places = np.clip((left + np.arange(wanted + 1) * scale) * across / whole, 0, across)
        first = np.minimum(np.floor(places[:-1] + _CLOSE), across - 1).astype(int)
        edges.append((first, np.maximum(np.ceil(places[1:] - _CLOSE).astype(int), first + 1)))
    return edges[0], edges[1]


def _brightest(levels: "NDArray[np.uint8]", edges: "Edges") -> "NDArray[np.uint8]":
    """The largest value of each range of rows."""
    import numpy as np

    padded = np.vstack([levels, np.zeros_like(levels[:1])])
    largest: NDArray[np.uint8] = np.maximum.reduceat(padded, np.column_stack(edges).ravel(), axis=0)[::2]
    return largest


def _nothing_masked(brightest: int) -> str:
    if brightest >= PAINTED:
        return "the mask has no white in the part of the picture that is used: nothing would be painted anew."
    hint = " Its values are 0 and 1: save white as 255." if brightest == 1 else ""
    return (
        f"the mask is black: its brightest value is {brightest}, and from {PAINTED} of 255 on a pixel is painted anew; "
        f"transparent counts as black.{hint} Make white what is to be painted."
    )


def fit_control(image: "Image", size: Resolution, preprocess: "ControlPreprocess | None") -> "Image":
    """The control picture (RGB) at `size`, or its edges where they are asked for.

    Args:
        preprocess: `canny` for the edges of any picture; `auto` for those of a picture that is not one of edges.
    """
    import numpy as np
    from PIL import Image

    from models.canny import canny_edges, is_edge_map

    fitted = fit_picture(image, size)
    # Judged at its own size: scaling blurs lines.
    has_edges = preprocess == "auto" and is_edge_map(np.asarray(rgb_picture(image)))
    if preprocess in (None, "none") or has_edges:
        return fitted
    return Image.fromarray(canny_edges(np.asarray(fitted)))


def keep_unmasked(painted: "NDArray[np.uint8]", picture: "Image", mask: "Image") -> "NDArray[np.uint8]":
    """The painted pixels (H, W, 3) inside the mask, and outside of it, below `PAINTED`, exactly the input picture's.

    White is painted in full; the greys between, as of a mask with soft edges, mix the two.
    """
    import numpy as np

    levels = np.asarray(mask, dtype=np.float32)[..., None]
    share = ((levels - (PAINTED - 1)) / (256 - PAINTED)).clip(0, 1)
    mixed = share * painted + (1 - share) * np.asarray(picture, dtype=np.float32)
    kept: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return kept
