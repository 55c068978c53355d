"""Pictures that go into the engine and come out of it, and the one safe way to open a picture from outside."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import FailureCause
from models.decoding.errors import UnreadableError
from models.errors import PictureError
from models.recipe import Recipe
from models.resolution import ANY_MODEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.decoding.pool import Answer, Op
    from models.marks.reading import Found

MAX_INPUT_PIXELS = 2 * ANY_MODEL.max_pixels
"""The largest picture and mask that any model can use."""


@dataclass(frozen=True)
class BatchItem:
    """One picture to make; input pictures are RGB (the mask L), of the recipe's size and in its order."""

    recipe: Recipe
    image: "Image | None" = None
    mask: "Image | None" = None
    controls: "Sequence[Image]" = ()


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
    """An input picture known by the sha256 of its file; `load` decodes it when the engine needs it.

    Attributes:
        pixels: how many its header announces.
        read: its file, for the marks that it carries; empty where nobody needs them.
    """

    digest: str
    load: Callable[[], "Image"]
    pixels: int = 0
    read: Callable[[], bytes] = bytes


Pictures = tuple[InputPicture | None, InputPicture | None, Sequence[InputPicture]]
"""The image, the mask and the control pictures of one request."""


def input_picture(data: bytes, max_pixels: int) -> InputPicture:
    """The input picture in a file. PictureError, before anything is decoded, if it is none or has too many pixels."""
    pixels = check_picture(data, max_pixels)
    return InputPicture(hashlib.sha256(data).hexdigest(), partial(open_picture, data, max_pixels), pixels, lambda: data)


def check_together(pictures: Iterable[InputPicture | None], max_pixels: int) -> None:
    """Refuse the input pictures of one request that are too large taken together; PictureError."""
    if (pixels := sum(picture.pixels for picture in pictures if picture)) > max_pixels:
        raise PictureError(
            f"the input pictures have {pixels:,} pixels together, above the maximum of {max_pixels:,}. Send them "
            "smaller: no model uses more than the size that is asked for."
        )


def open_picture(source: bytes | Path, max_pixels: int = MAX_INPUT_PIXELS) -> "Image":
    """Decode a picture from outside, upright and completely, in a process of its own with limits of time and memory.

    Args:
        source: the bytes of a PNG, JPEG, WebP, BMP or GIF (its first frame), or a file of one.
        max_pixels: larger pictures are refused before anything is decoded.
    Returns:
        mode L, LA, RGB or RGBA, as sRGB whatever the file's colour profile.
    Raises:
        PictureError: for everything that can be wrong with it.
    """
    from PIL import Image

    answer = _asked("decode", source, max_pixels)
    return Image.frombytes(answer.head["mode"], tuple(answer.head["size"]), answer.body)


def check_picture(source: bytes | Path, max_pixels: int = MAX_INPUT_PIXELS) -> int:
    """Refuse, by its header and without decoding it, a file that is no picture `open_picture` reads, or too large.

    Returns:
        its pixels.
    Raises:
        PictureError: saying what it is instead.
    """
    return math.prod(_asked("size", source, max_pixels).head["size"])


def transparency_of(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> bytes | None:
    """A PNG that is white where a picture is transparent; None if it has no transparency. PictureError as above."""
    return _asked("transparency", data, max_pixels).body or None


def marks_in(data: bytes, max_pixels: int, anchors: str) -> "list[Found]":
    """All marks of a picture file from outside, read where it is decoded. PictureError as above.

    Args:
        anchors: certificates, PEM, of those whose signatures are one's own.
    """
    from models.marks.reading import Found

    return [Found(**mark) for mark in _asked("marks", data, max_pixels, anchors).head["marks"]]


def has_manifest(data: bytes) -> bool:
    """Whether a picture file from outside has a C2PA manifest that can be read in little time and memory."""
    with suppress(PictureError):
        return bool(_asked("manifest", data, 0).head["manifest"])
    return False


def open_stored_picture(data: bytes, max_pixels: int) -> "Image":
    """Decode a picture that we stored, in this process: `open_picture` for files that nobody else made."""
    from models.decoding.pillow import decoded

    with _named("the picture"):
        return decoded(data, max_pixels)


def _asked(op: "Op", source: bytes | Path, max_pixels: int, about: str = "") -> "Answer":
    from models.decoding.pool import ask

    with _named(f"'{source.name}'" if isinstance(source, Path) else "the picture"):
        return ask(op, _bytes(source), max_pixels, about)


def _bytes(source: bytes | Path) -> bytes:
    try:
        return source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError as exc:
        raise UnreadableError(f"cannot be read: no file {source!s}.") from exc
    except OSError as exc:
        raise UnreadableError(f"cannot be read: {exc.strerror}.") from exc


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableError as exc:
        raise PictureError(f"{name} {exc}") from exc
