"""What picture files may cost, and what of them decides pixels. Values marked so are ImageMagick 6.9.11's."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.decoding.containers import MAX_PARTS, MAX_SCANS
from models.errors import PictureError
from models.image import check_picture, open_picture, transparency_of
from tests.support import costly_pictures as costly
from tests.support.fuzzing import TIMES

TEAL = (0, 128, 128)
ADOBE_CRIMSON, CRIMSON = (188, 27, 61), (0xDC, 0x14, 0x3C)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (lambda: costly.many_scans(3000), f"has more than {MAX_SCANS} scans"),
        (lambda: costly.many_segments(1_000_000), f"has more than {MAX_PARTS:,} segments"),
        (lambda: costly.gif_of_comments(2_000_000), f"has more than {MAX_PARTS:,} blocks"),
        (lambda: costly.png_with(*[(b"abCd", b"")] * 150_000), f"has more than {MAX_PARTS:,} chunks"),
        (lambda: costly.webp_header(8_000, 8_000), "64,000,000 pixels are above the maximum"),
        (lambda: costly.webp_header(16_384, 16_384), "too large to decode, or damaged"),
    ],
)
def test_a_file_that_costs_more_than_its_bytes_is_refused_before_it_is_decoded(data, rule):
    file = data()
    for look in (check_picture, open_picture):
        began_s = time.process_time()
        with pytest.raises(PictureError, match=rule):
            look(file)
        assert time.process_time() - began_s < 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_read(kind):
    picture = open_picture(costly.many_frames(kind)).convert("RGB")
    np.testing.assert_allclose(picture.getpixel((30, 30)), TEAL, atol=3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(5_000_000))),
        (b"iTXt", b"workflow\0\x01\0\0\0" + zlib.compress(bytes(5_000_000))),
        (b"tEXt", b"workflow\0" + b"x" * 3_000_000),
        (b"iCCP", b"junk\0\0" + zlib.compress(bytes(9_000_000))),
        (b"iCCP", b"junk\0\0not packed at all"),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(9_000_000))),
    ],
    ids=["ztxt", "itxt", "text", "large profile", "broken profile", "large exif"],
)
def test_no_metadata_of_a_png_decides_whether_it_is_a_picture(chunk, after):
    data = costly.png_with(chunk, after=after)

    assert check_picture(data) == 32 * 24
    assert open_picture(data).getpixel((5, 5)) == TEAL


def test_a_profile_above_a_megabyte_still_says_what_the_colours_are():
    profile = b"Adobe RGB\0\0" + zlib.compress(costly.adobe_rgb_profile(2_000_000))
    data = costly.png_with((b"iCCP", profile), picture=Image.new("RGB", (8, 8), ADOBE_CRIMSON))

    np.testing.assert_allclose(open_picture(data).getpixel((3, 3)), CRIMSON, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_colours_are_read_by_the_profile(kind, mode):
    if kind == "JPEG" and mode != "RGB":
        pytest.skip("there are no such JPEGs")
    picture = Image.new("RGB", (32, 32), ADOBE_CRIMSON).convert(mode, palette=Image.Palette.ADAPTIVE)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    read = open_picture(encoded(picture, kind, icc_profile=costly.adobe_rgb_profile(), **options))

    np.testing.assert_allclose(read.convert("RGB").getpixel((9, 9)), CRIMSON, atol=2 if kind == "JPEG" else 1)
    assert read.convert("RGBA").getpixel((9, 9))[3] == 255


def test_a_profile_for_other_colours_is_passed_over():
    assert open_picture(encoded(Image.new("L", (8, 8), 77), "PNG")).getpixel((3, 3)) == 77
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encoded(cmyk, "JPEG", quality=100, icc_profile=costly.adobe_rgb_profile())
    np.testing.assert_allclose(open_picture(data).getpixel((5, 5)), (255, 0, 0), atol=2)


@pytest.mark.parametrize(
    ("ink", "colour"),  # ImageMagick's
    [((10, 200, 30, 40), (206, 46, 189)), ((100, 20, 3, 90), (100, 152, 163)), ((0, 0, 0, 0), (255, 255, 255))],
)
def test_ink_becomes_light(ink, colour):
    data = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    np.testing.assert_allclose(open_picture(data).getpixel((5, 5)), colour, atol=1)


def _row(*samples: int) -> bytes:
    return struct.pack(f">{len(samples)}H", *samples)


_PALETTE = (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]))


@pytest.mark.parametrize(
    ("data", "pixels"),  # ImageMagick's
    [
        (costly.png(4, 16, 0, _row(0xFFFF, 0x1234, 0x80FF, 0x00FF)), [(255, 255), (18, 255), (128, 255), (0, 255)]),
        (costly.png(2, 16, 0, _row(0xFFFF, 0x1234), (b"tRNS", _row(0x1234))), [(255, 255), (18, 0)]),
        (costly.png(2, 16, 4, _row(0xFFFF, 0x80FF, 0x1234, 0x01FF)), [(255, 129), (18, 2)]),
        (costly.png(2, 16, 2, _row(0xFFFF, 0, 0, 1, 2, 3), (b"tRNS", _row(1, 2, 3))), [(255, 0, 0, 255), (0, 0, 0, 0)]),
        (costly.png(1, 16, 2, _row(0x7FFF, 0x80FF, 0x01FF)), [(127, 128, 1, 255)]),
        (costly.png(4, 2, 0, b"\x1b", (b"tRNS", _row(1))), [(0, 255), (85, 0), (170, 255), (255, 255)]),
        (costly.png(2, 4, 0, b"\x3a", (b"tRNS", _row(3))), [(51, 0), (170, 255)]),
        (costly.png(2, 1, 0, b"\x40", (b"tRNS", _row(0))), [(0, 0), (255, 255)]),
        (
            costly.png(4, 2, 3, b"\x1b", _PALETTE, (b"tRNS", b"\x00\x80")),
            [(255, 0, 0, 0), (0, 255, 0, 128), (0, 0, 255, 255), (9, 9, 9, 255)],
        ),
        (
            costly.png(4, 2, 3, b"\x1b", _PALETTE, (b"tRNS", b"\xff\x00")),
            [(255, 0, 0, 255), (0, 255, 0, 0), (0, 0, 255, 255), (9, 9, 9, 255)],
        ),
    ],
)
def test_sixteen_bits_and_transparency_of_any_kind(data, pixels):
    grey = len(pixels[0]) == 2
    expected = [(one[0], one[0], one[0], one[1]) if grey else one for one in pixels]

    np.testing.assert_allclose(np.asarray(open_picture(data).convert("RGBA"))[0], expected, atol=1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_orientation_counts_in_every_format(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(encoded(Image.new("RGB", (40, 30)), kind, exif=exif)).size == (30, 40)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_orientation_in_xmp_alone_is_passed_over_in_every_format(kind):
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp)
    options = {"pnginfo": texts} if kind == "PNG" else {"xmp": xmp.encode()}

    assert open_picture(encoded(Image.new("RGB", (40, 30), TEAL), kind, **options)).size == (40, 30)


@pytest.mark.parametrize(
    ("mode", "chunks", "pixel"),
    [
        # ImageMagick's, to a level.
        ("RGB", [(b"gAMA", 100_000)], (239, 79, 133)),
        ("RGB", [(b"gAMA", 45_455)], CRIMSON),
        ("RGB", [(b"gAMA", 55_556)], CRIMSON),
        ("RGB", [(b"gAMA", 100_000), (b"sRGB", 0)], CRIMSON),
        ("RGBA", [(b"gAMA", 100_000)], (239, 79, 133, 100)),
        ("L", [(b"gAMA", 100_000)], (129,)),
    ],
)
def test_only_a_gamma_of_one_tells_that_a_picture_holds_linear_light(mode, chunks, pixel):
    colour = {"RGB": CRIMSON, "RGBA": (*CRIMSON, 100), "L": 56}[mode]
    told = [(name, struct.pack(">I", value) if name == b"gAMA" else bytes([value])) for name, value in chunks]

    found = open_picture(costly.png_with(*told, picture=Image.new(mode, (40, 30), colour))).getpixel((0, 0))

    np.testing.assert_array_equal(np.atleast_1d(found), pixel)


def test_where_a_picture_is_transparent():
    layer = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    layer.putpixel((2, 3), (9, 9, 9, 0))
    mask = Image.open(io.BytesIO(transparency_of(encoded(layer, "PNG"))))

    assert sorted(mask.getcolors()) == [(1, 255), (63, 0)]
    assert mask.getpixel((2, 3)) == 255
    assert transparency_of(encoded(layer.convert("RGB"), "PNG")) is None


_SEEDS = [
    encoded(Image.radial_gradient("L").resize((40, 30)).convert(mode), kind, **options)
    for kind, mode, options in [
        ("PNG", "RGBA", {"icc_profile": costly.adobe_rgb_profile()}),
        ("PNG", "P", {"transparency": 3}),
        ("JPEG", "RGB", {"progressive": True, "icc_profile": costly.adobe_rgb_profile()}),
        ("JPEG", "CMYK", {}),
        ("WEBP", "RGBA", {}),
        ("BMP", "RGB", {}),
        ("GIF", "P", {}),
    ]
] + [costly.many_frames(kind, 3) for kind in ("GIF", "WEBP", "PNG")]


@settings(max_examples=150 * TIMES)
@given(
    seed=st.sampled_from(_SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=4)), max_size=6),
    cut=st.none() | st.integers(0, 2**16),
    more=st.binary(max_size=20),
)
def test_whatever_is_made_of_a_file_it_is_a_picture_or_one_short_error(seed, changes, cut, more):
    data = bytearray(seed)
    for place, values in changes:
        at = place % len(data)
        data[at : at + len(values)] = values
    file = bytes(data[:cut]) + more
    began_s = time.process_time()
    try:
        outcome = open_picture(file, max_pixels=10**6).mode
    except PictureError as exc:
        outcome = str(exc)
    assert outcome in ("L", "LA", "RGB", "RGBA") or (outcome.startswith("the picture ") and len(outcome) < 300)
    assert time.process_time() - began_s < 5
