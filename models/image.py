"""Pictures that go into the engine and come out of it, and the one safe way to open a picture from outside."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import FailureCause
from models.errors import PictureError
from models.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """A finished picture: `pixels` uint8 RGB of shape (H, W, 3), `seconds` this picture's share of each stage."""

    id: str
    pixels: "NDArray[np.uint8]"
    recipe: Recipe
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedImage:
    """A job that gave no picture; `error` says why, in words for the person who asked for it."""

    id: str
    recipe: Recipe | None
    error: str
    cause: FailureCause = FailureCause.ENGINE


@dataclass(frozen=True)
class InputPicture:
    """An input picture known by the sha256 of its file; `load` decodes it when the engine needs it."""

    digest: str
    load: Callable[[], "Image"]


def open_picture(source: bytes | Path, max_pixels: int = 64_000_000) -> "Image":
    """Decode a picture from outside, upright and completely.

    Args:
        source: the bytes of a PNG, JPEG, WebP, BMP or GIF (its first frame), or a file of one.
        max_pixels: larger pictures are refused before anything is decoded.
    Raises:
        PictureError: for everything that can be wrong with it.
    """
    from PIL import ImageOps

    with _opened(source, max_pixels) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow would clip these to white instead of scaling them
        return upright.point(lambda level: level * (1 / 257) + 0).convert("L")
    return upright


def check_picture(source: bytes | Path, max_pixels: int = 64_000_000) -> None:
    """Refuse, by its header and without decoding it, a file that is no picture `open_picture` reads, or too large.

    Raises:
        PictureError: saying what it is instead.
    """
    with _opened(source, max_pixels):
        return


@contextmanager
def _opened(source: bytes | Path, max_pixels: int) -> Iterator["Image"]:
    """The picture with its header read; every way out of the block is a PictureError."""
    from PIL import Image

    name = f"'{source.name}'" if isinstance(source, Path) else "the picture"
    # Our own limit below is the authority; Pillow's only warns, and at another size.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise PictureError(
                    f"{name} is {image.width}×{image.height} px; {image.width * image.height:,} pixels"
                    f" are above the maximum of {max_pixels:,}."
                )
            yield image
    except PictureError:
        raise
    except Exception as exc:  # decoders raise anything on damaged files
        raise PictureError(f"{name} cannot be read: {_reason(exc, source)}") from exc


def _reason(exc: Exception, source: bytes | Path) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(exc, UnidentifiedImageError):
        return f"it is not one of {', '.join(_FORMATS)}, or it is damaged."
    if isinstance(exc, FileNotFoundError):
        return f"no file {source!s}."
    if isinstance(exc, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "it is too large to decode."
    return f"{exc or type(exc).__name__}."
