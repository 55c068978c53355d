"""Input pictures made ready for a model: right colours, right size, mask and picture aligned."""

from typing import TYPE_CHECKING

from models.resolution import Resolution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.recipe import ControlPreprocess


def fit_picture(image: "Image", size: Resolution) -> "Image":
    """RGB of exactly `size`: transparency over white, the middle cut out where the aspect ratio differs."""
    from PIL import Image, ImageOps

    return ImageOps.fit(opaque(image), (size.width_px, size.height_px), Image.Resampling.LANCZOS)


def opaque(image: "Image") -> "Image":
    """RGB, transparency over white."""
    from PIL import Image

    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def fit_mask(mask: "Image", picture: "Image", size: Resolution) -> "Image":
    """The mask (L; white is painted anew) laid over `picture` and cut as `fit_picture` cuts that."""
    from PIL import Image, ImageOps

    laid = mask.convert("L").resize(picture.size, Image.Resampling.NEAREST)
    return ImageOps.fit(laid, (size.width_px, size.height_px), Image.Resampling.NEAREST)


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
    has_edges = preprocess == "auto" and is_edge_map(np.asarray(opaque(image)))
    if preprocess in (None, "none") or has_edges:
        return fitted
    return Image.fromarray(canny_edges(np.asarray(fitted)))


def keep_unmasked(painted: "NDArray[np.uint8]", picture: "Image", mask: "Image") -> "NDArray[np.uint8]":
    """The painted pixels (H, W, 3) inside the mask, the input picture's own outside, with a soft edge of about 8 px."""
    import numpy as np
    from PIL import Image, ImageFilter

    soft = mask.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(3))
    return np.asarray(Image.composite(Image.fromarray(painted), picture, soft))
