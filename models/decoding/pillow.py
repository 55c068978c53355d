"""One picture file decoded with Pillow, upright and completely."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from models.decoding.colours import to_srgb
from models.decoding.containers import MAX_PROFILE_BYTES, plain_file
from models.decoding.errors import UnreadableError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_MAX_REASON = 200
_NO_WEBP_CANVAS = "could not create decoder object"

PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # which holds for colour profiles as well


def decoded(data: bytes, max_pixels: int) -> Image.Image:
    """The picture (of an animation, the first) in mode L, LA, RGB or RGBA, as sRGB, upright.

    Args:
        max_pixels: larger pictures are refused before anything is decoded.
    Raises:
        UnreadableError: for everything that can be wrong with it.
    """
    with _opened(data, max_pixels) as image:
        image.load()
        # Of the orientations only EXIF's counts, as in other programs; Pillow would take that of XMP, too.
        image.info.pop("xmp", None)
        ImageOps.exif_transpose(image, in_place=True)
        return to_srgb(image)


def size_of(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height in px as the header says, turned upright or not; UnreadableError as far as the header tells."""
    with _opened(data, max_pixels) as image:
        return image.size


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The picture with its header read; every way out of the block is an UnreadableError."""
    # Our own limit below is the authority; Pillow's only warns, and at another size.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(plain_file(data)), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadableError(
                    f"is {image.width}×{image.height} px; {image.width * image.height:,} pixels are above the "
                    f"maximum of {max_pixels:,}."
                )
            yield image
    except UnreadableError:
        raise
    except Exception as exc:  # decoders raise anything on damaged files
        raise UnreadableError(f"cannot be read: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnidentifiedImageError):
        return f"it is not one of {', '.join(FORMATS)}, or it is damaged."
    if isinstance(exc, Image.DecompressionBombError | MemoryError) or str(exc) == _NO_WEBP_CANVAS:
        return "it is too large to decode, or damaged."
    text = "".join(letter if letter.isprintable() else " " for letter in str(exc)[:_MAX_REASON])
    return f"{text.strip(' .') or type(exc).__name__}."
