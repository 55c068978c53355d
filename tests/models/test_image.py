import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from models.errors import PictureError
from models.image import open_picture


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_lossless_pictures_are_read_exactly(kind):
    data = encoded(picture(), kind, **({"lossless": True} if kind == "WEBP" else {}))

    np.testing.assert_array_equal(np.asarray(open_picture(data)), np.asarray(picture()))


def test_jpeg_and_the_first_frame_of_a_gif_are_read(tmp_path):
    assert open_picture(encoded(picture(), "JPEG")).size == (40, 30)

    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    (tmp_path / "two.gif").write_bytes(encoded(red, "GIF", save_all=True, append_images=[blue]))
    assert open_picture(tmp_path / "two.gif").convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_an_alpha_channel_is_kept():
    assert open_picture(encoded(picture("RGBA"), "PNG")).mode == "RGBA"


def test_sixteen_bits_become_eight():
    ramp = np.linspace(0, 65_535, 256, dtype=np.uint16).reshape(16, 16)

    decoded = open_picture(encoded(Image.fromarray(ramp), "PNG"))

    assert decoded.mode == "L"
    np.testing.assert_allclose(np.asarray(decoded).ravel(), np.arange(256), atol=1)


def test_a_picture_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6

    assert open_picture(encoded(picture(), "JPEG", exif=exif)).size == (30, 40)


@pytest.mark.parametrize("sides", [(60_000, 60_000), (10_000, 6_401), (2**31 - 1, 2**31 - 1), (12_000, 12_000)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(sides):
    with pytest.raises(PictureError) as caught:
        open_picture(huge_png(*sides))

    assert str(caught.value) == (
        f"the picture is {sides[0]}×{sides[1]} px; {sides[0] * sides[1]:,} pixels are above the maximum of 33,554,432."
    )


def test_the_limit_is_the_callers():
    assert open_picture(encoded(picture(), "PNG"), max_pixels=1_200).size == (40, 30)
    with pytest.raises(PictureError, match=r"^the picture is 40×30 px; 1,200 pixels are above the maximum of 1,199\.$"):
        open_picture(encoded(picture(), "PNG"), max_pixels=1_199)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("part", [0, 0.01, 0.1, 0.5, 0.9])
def test_a_truncated_picture_is_one_clear_error(kind, part):
    data = encoded(picture(size=(200, 200)), kind)

    with pytest.raises(PictureError, match="^the picture cannot be read: "):
        open_picture(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_a_damaged_picture_is_a_picture_or_one_clear_error(kind):
    data = encoded(picture(size=(64, 64)), kind)
    random = np.random.default_rng(1)
    texts = []
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 8):
            damaged[place] = random.integers(0, 256)
        try:
            assert open_picture(bytes(damaged), max_pixels=10**6).size
        except PictureError as exc:
            texts.append(str(exc))
    assert all(text.startswith("the picture ") for text in texts)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "PDF"])
def test_formats_outside_the_list_are_refused(kind):
    with pytest.raises(PictureError) as caught:
        open_picture(encoded(picture(), kind))

    assert str(caught.value) == (
        "the picture cannot be read: it is not one of PNG, JPEG, WEBP, BMP, GIF, or it is damaged."
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PictureError) as caught:
        open_picture(tmp_path / "none.png")

    assert str(caught.value) == f"'none.png' cannot be read: no file {tmp_path / 'none.png'}."


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(PictureError, match="cannot be read"):
        open_picture(tmp_path)
