"""Pictures as files: WebP, PNG and JPEG that carry their recipe and the mark of AI-made media."""

import io
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from foundation.errors import ImageGenXError, told
from models import picture_metadata
from models.errors import InvalidRequestError, PictureError
from models.recipe import Recipe
from models.request import ImageFormat
from models.statement import Statement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

CONTENT_TYPES: Mapping[str, str] = {"webp": "image/webp", "png": "image/png", "jpg": "image/jpeg"}
"""The media type of each format."""
_STARTS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}

MAX_SIDE_PX: dict[ImageFormat, int] = {"webp": 16_383, "png": 2**31 - 1, "jpg": 65_500}
"""The longest side each format's encoder takes."""

_PNG_LEVEL = 4
"""Of zlib: detail takes no more bytes than at its usual 6, and half the time."""
_FULL_CHROMA_QUALITY = 90
_MAX_RECIPE_CHARS = 1_000_000

_RECIPE_CHUNK = "imagegenx"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_MAX_SEGMENT_BYTES = 65_533
_EXTENSION_PART_BYTES = 65_400
_EXIF_POINTER, _EXIF_VERSION, _USER_COMMENT = 0x8769, 0x9000, 0x9286
_LONG, _UNDEFINED = 4, 7


class RecipeNotFoundError(ImageGenXError):
    """A picture that carries no ImageGenX recipe, or one that is damaged."""


def rgb_picture(picture: "Image.Image | NDArray[np.uint8]") -> "Image.Image":
    """Return the picture in RGB mode: an array is wrapped, transparency is laid on white.

    Args:
        picture: any Pillow image, or uint8 of shape (H, W, 3).
    Raises:
        PictureError: if an array has another shape or type.
    """
    from PIL import Image

    if not isinstance(picture, Image.Image):
        if picture.dtype != "uint8" or picture.ndim != 3 or picture.shape[2] != 3:
            raise PictureError(f"pixels {picture.dtype} of shape {picture.shape}: uint8 of shape (H, W, 3) is needed.")
        return Image.fromarray(picture, "RGB")
    return picture if picture.mode == "RGB" else laid_on(picture, "white").convert("RGB")


def laid_on(picture: "Image.Image", colour: str) -> "Image.Image":
    """The picture as it looks on a ground of this colour; itself if nothing of it is transparent."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture.convert("RGBA"))


def content_type_of(data: bytes) -> str:
    """The media type of a file, by its first bytes; "" of those that carry no marks."""
    return next((name for start, name in _STARTS.items() if data.startswith(start)), "")


def encode_picture(
    image: "Image.Image | NDArray[np.uint8]",
    format: ImageFormat,
    quality: int,
    recipe: Recipe | None,
    statement: Statement | None = None,
) -> bytes:
    """Encode a picture as an RGB file that says that it is AI-made and, if given, more about that and its recipe.

    Args:
        image: any Pillow image, or uint8 of shape (H, W, 3).
        quality: 1 to 100, for WebP and JPEG; PNG is lossless.
    Raises:
        PictureError: if the pixels are not such an image, or a side is longer than the format allows.
    """
    picture = rgb_picture(image)
    if max(picture.size) > MAX_SIDE_PX[format]:
        raise PictureError(
            f"{picture.width}×{picture.height} px as {format}: its longest side is {MAX_SIDE_PX[format]:,} px. "
            "Choose format png, or a smaller picture."
        )
    file = io.BytesIO()
    match format:
        case "png":
            picture.save(file, "PNG", compress_level=_PNG_LEVEL, pnginfo=_png_info(recipe, statement))
        case "webp":
            xmp = picture_metadata.xmp_packet(recipe, statement)
            picture.save(file, "WEBP", quality=quality, xmp=xmp, exif=_exif(recipe))
        case "jpg":
            sampling = "4:4:4" if quality >= _FULL_CHROMA_QUALITY else "4:2:0"
            exif = _exif(recipe, _MAX_SEGMENT_BYTES)
            picture.save(
                file, "JPEG", quality=quality, subsampling=sampling, exif=exif, extra=_jpeg_xmp(recipe, statement)
            )
    return file.getvalue()


def read_recipe(data: bytes) -> Recipe:
    """Return the recipe that `encode_picture` wrote into a PNG, JPEG or WebP file. No pixel is decoded.

    Raises:
        PictureError: if the bytes are no such file.
        RecipeNotFoundError: if it carries no recipe, or one that is damaged.
    """
    try:
        text = _recipe_text(data)
    except (picture_metadata.UnreadableXMPError, struct.error, UnicodeDecodeError) as exc:
        raise RecipeNotFoundError(f"the picture's metadata is damaged: {told(exc)}.") from exc
    if text is None:
        raise RecipeNotFoundError("the picture carries no ImageGenX recipe.")
    if len(text) > _MAX_RECIPE_CHARS:
        raise RecipeNotFoundError(
            f"the picture's recipe has {len(text):,} characters: more than the {_MAX_RECIPE_CHARS:,} of any real one."
        )
    try:
        return Recipe.from_json(text)
    except (InvalidRequestError, RecursionError) as exc:
        raise RecipeNotFoundError(f"the picture's recipe is damaged: {told(exc)}") from exc


def read_xmp(data: bytes) -> bytes | None:
    """Return the XMP packet of a PNG, JPEG or WebP file, or None. Raises PictureError if it is none of these."""
    if data.startswith(_PNG_SIGNATURE):
        return _png_texts(data).get("XML:com.adobe.xmp")
    if data.startswith(b"\xff\xd8"):
        return next((body[len(_JPEG_XMP) :] for body in _jpeg_app1(data) if body.startswith(_JPEG_XMP)), None)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return next((body for name, body in _riff_chunks(data) if name == b"XMP "), None)
    raise PictureError("the picture cannot be read: it is not one of PNG, JPEG, WEBP, or it is damaged.")


def _recipe_text(data: bytes) -> str | None:
    packet = read_xmp(data)
    if data.startswith(_PNG_SIGNATURE) and (text := _png_texts(data).get(_RECIPE_CHUNK)):
        return text.decode()
    if packet is None:
        return None
    if data.startswith(b"\xff\xd8") and (guid := picture_metadata.extended_xmp_guid(packet)):
        packet = _jpeg_extension(data, guid)
    return picture_metadata.recipe_json(packet)


def _png_info(recipe: Recipe | None, statement: Statement | None) -> "PngInfo":
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", picture_metadata.xmp_packet(None, statement).decode())
    if recipe:
        info.add_text("parameters", picture_metadata.parameters_text(recipe))
        info.add_itxt(_RECIPE_CHUNK, recipe.to_json())
    return info


def _png_texts(data: bytes) -> dict[str, bytes]:
    """Read the uncompressed international texts (PNG 1.2, iTXt) in front of the pixels; ours are always such."""
    texts = {}
    at = len(_PNG_SIGNATURE)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name in (b"IDAT", b"IEND"):
            break
        keyword, found, rest = data[at + 8 : at + 8 + size].partition(b"\0")
        if name == b"iTXt" and found and rest.startswith(b"\0\0") and rest.count(b"\0", 2) >= 2:
            texts[keyword.decode("latin-1")] = rest[2:].split(b"\0", 2)[2]
        at += size + 12
    return texts


def _exif(recipe: Recipe | None, max_bytes: int | None = None) -> bytes:
    """Return an EXIF block (EXIF 2.32) whose user comment is the A1111 text, as other tools read it.

    The comment has type UNDEFINED and begins with its character code; its UTF-16 has the byte order of the block, big
    end first. Pillow would write the type BYTE, which readers refuse. A text that does not fit is left out, never cut:
    the XMP has all of it.
    """
    if recipe is None:
        return b""
    comment = b"UNICODE\0" + picture_metadata.parameters_text(recipe).encode("utf-16-be")
    pointer = struct.pack(">HHLL", _EXIF_POINTER, _LONG, 1, 26)
    version = struct.pack(">HHL4s", _EXIF_VERSION, _UNDEFINED, 4, b"0232")
    entry = struct.pack(">HHLL", _USER_COMMENT, _UNDEFINED, len(comment), 56)
    directories = (struct.pack(">H", 1), pointer, bytes(4), struct.pack(">H", 2), version, entry, bytes(4))
    block = b"Exif\0\0" + struct.pack(">2sHL", b"MM", 42, 8) + b"".join(directories) + comment
    return block if max_bytes is None or len(block) <= max_bytes else b""


def _jpeg_xmp(recipe: Recipe | None, statement: Statement | None) -> bytes:
    """Return XMP as APP1 segments; a recipe too long for one goes into extension segments (XMP part 3)."""
    packet = _JPEG_XMP + picture_metadata.xmp_packet(recipe, statement)
    if recipe is None or len(packet) <= _MAX_SEGMENT_BYTES:
        return _app1(packet)
    short, extension, guid = picture_metadata.split_xmp_packet(recipe, statement)
    header = _JPEG_XMP_EXTENSION + guid.encode()
    parts = range(0, len(extension), _EXTENSION_PART_BYTES)
    return _app1(_JPEG_XMP + short) + b"".join(
        _app1(header + struct.pack(">II", len(extension), at) + extension[at : at + _EXTENSION_PART_BYTES])
        for at in parts
    )


def _app1(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _jpeg_app1(data: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(data):
        marker, size = struct.unpack_from(">HH", data, at)
        if marker >> 8 != 0xFF or marker == 0xFFDA or size < 2:
            return
        if marker == 0xFFE1:
            yield data[at + 4 : at + 2 + size]
        at += 2 + size


def _jpeg_extension(data: bytes, guid: str) -> bytes:
    header = _JPEG_XMP_EXTENSION + guid.encode()
    bodies = (body[len(header) :] for body in _jpeg_app1(data) if body.startswith(header))
    parts = sorted((struct.unpack_from(">I", body, 4)[0], body[8:]) for body in bodies)
    extension = b"".join(part for _, part in parts)
    if picture_metadata.extension_guid(extension) != guid:
        raise RecipeNotFoundError("the picture's recipe is damaged: parts of its extended XMP are missing or changed.")
    return extension


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
