"""Encoded pictures: format, size, and the recipe that comes back out of them."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from models import picture_metadata
from models.encoding import RecipeNotFoundError, encode_picture, read_recipe, read_xmp, rgb_picture
from models.errors import PictureError
from models.recipe import PostStep
from models.request import Mode
from tests.support.recipes import a_recipe, some_pixels

FORMATS = ("webp", "png", "jpg")
TINY = np.zeros((2, 2, 3), np.uint8)
DIFFICULT = (
    'she said "hi" & left <b>]]></b>\r\n\tNegative prompt: x\nSteps: 1, Sampler: "q"\\ 猫 😀 '
    "\x01\x7f\x85\u2028\ufffe\uffff"
)
LONGEST = a_recipe(text="😀" * 10_000, negative_text="😸" * 10_000)
PROMPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("format", FORMATS)
def test_pictures_have_the_asked_format_size_and_mode(format):
    picture = opened(encode_picture(some_pixels(1, width_px=70, height_px=30), format, 95, a_recipe()))
    assert picture.format == {"webp": "WEBP", "png": "PNG", "jpg": "JPEG"}[format]
    assert picture.size == (70, 30)
    assert picture.mode == "RGB"
    picture.load()


def test_png_keeps_every_pixel():
    pixels = some_pixels(3)
    assert np.array_equal(np.asarray(opened(encode_picture(pixels, "png", 95, a_recipe()))), pixels)


@pytest.mark.parametrize("format", ["webp", "jpg"])
def test_quality_decides_size_and_likeness(format):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC))
    small, large = (encode_picture(pixels, format, quality, None) for quality in (80, 95))
    assert len(large) > len(small) * 1.3
    errors = [np.abs(np.asarray(opened(data)).astype(int) - pixels).mean() for data in (small, large)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("format", FORMATS)
def test_transparency_is_laid_on_white(format):
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    picture = opened(encode_picture(clear, format, 100, None))
    assert picture.mode == "RGB"
    assert picture.getpixel((8, 8)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK", "RGBA", "RGB"])
def test_every_mode_becomes_rgb_of_the_same_look(mode):
    grey = rgb_picture(Image.new("L", (4, 4), 255).convert(mode))
    assert grey.mode == "RGB"
    assert grey.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_arrays_of_another_kind_are_refused(pixels):
    with pytest.raises(PictureError) as caught:
        encode_picture(pixels, "png", 95, None)
    assert str(caught.value) == f"pixels {pixels.dtype} of shape {pixels.shape}: uint8 of shape (H, W, 3) is needed."


def test_a_side_too_long_for_the_format_is_refused():
    with pytest.raises(PictureError) as caught:
        encode_picture(Image.new("RGB", (16_384, 1)), "webp", 95, None)
    assert str(caught.value) == (
        "16384×1 px as webp: its longest side is 16,383 px. Choose format png, or a smaller picture."
    )


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(text=PROMPTS.filter(str.strip), negative_text=PROMPTS)
def test_recipes_come_back_exactly(format, text, negative_text):
    recipe = a_recipe(text=text, negative_text=negative_text)
    assert read_recipe(encode_picture(TINY, format, 95, recipe)) == recipe


@pytest.mark.parametrize("format", FORMATS)
def test_a_difficult_recipe_with_steps_comes_back_exactly(format):
    step = PostStep(op="watermark", params={"text": DIFFICULT, "transparency": 0.7, "font_size": None}, uses="f" * 64)
    recipe = a_recipe(text=DIFFICULT, strength=0.75, mode=Mode.IMG2IMG, image_digest="a" * 64).with_step(step)
    back = read_recipe(encode_picture(TINY, format, 95, recipe))
    assert back == recipe
    assert back.digest == recipe.digest


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("character", ["a", "&", "猫", "😀", "\x01", "\ufffe"])
def test_the_longest_prompts_come_back_exactly(format, character):
    recipe = a_recipe(text=character * 9_999 + "x", negative_text=character * 10_000)
    data = encode_picture(TINY, format, 95, recipe)
    assert read_recipe(data) == recipe
    opened(data).load()


@pytest.mark.parametrize("format", FORMATS)
def test_the_longest_random_prompts_come_back_exactly(format):
    points = np.random.default_rng(5).integers(0x10000, 0x10FFFF, 20_000)
    text = "".join(map(chr, points))
    recipe = a_recipe(text=text[:10_000], negative_text=text[10_000:])
    assert read_recipe(encode_picture(TINY, format, 95, recipe)) == recipe


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("with_recipe", [True, False])
def test_every_picture_is_marked_as_made_by_ai(format, with_recipe):
    data = encode_picture(TINY, format, 80, a_recipe() if with_recipe else None)
    packet = read_xmp(data)
    assert picture_metadata.digital_source_type(packet) == picture_metadata.AI_MADE
    assert opened(data).info["xmp"] == packet


def test_the_longest_jpeg_recipe_keeps_the_mark_where_every_reader_looks():
    data = encode_picture(TINY, "jpg", 95, LONGEST)
    assert picture_metadata.digital_source_type(opened(data).info["xmp"]) == picture_metadata.AI_MADE
    assert picture_metadata.extended_xmp_guid(read_xmp(data))
    assert "exif" not in opened(data).info


@pytest.mark.parametrize("format", ["webp", "jpg"])
def test_a1111_style_tools_find_the_text_in_exif(format):
    recipe = a_recipe(text="猫 cat", negative_text="blurry")
    exif = opened(encode_picture(TINY, format, 95, recipe)).getexif().get_ifd(ExifTags.IFD.Exif)
    comment = exif[ExifTags.Base.UserComment]
    assert comment.startswith(b"UNICODE\0")
    assert comment[8:].decode("utf-16-be") == picture_metadata.parameters_text(recipe)


def test_a1111_style_tools_find_the_text_in_png():
    recipe = a_recipe(text="猫 cat", negative_text="blurry")
    assert opened(encode_picture(TINY, "png", 95, recipe)).info["parameters"] == picture_metadata.parameters_text(
        recipe
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_without_a_recipe_says_so(format):
    with pytest.raises(RecipeNotFoundError, match=r"^the picture carries no ImageGenX recipe\.$"):
        read_recipe(encode_picture(TINY, format, 80, None))
    plain = io.BytesIO()
    Image.new("RGB", (4, 4)).save(plain, {"jpg": "JPEG"}.get(format, format.upper()))
    with pytest.raises(RecipeNotFoundError, match=r"^the picture carries no ImageGenX recipe\.$"):
        read_recipe(plain.getvalue())


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"GIF89a", b"RIFF\0\0\0\0WAVE", b"hello" * 1000])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(PictureError, match=r"^the picture cannot be read: it is not one of PNG, JPEG, WEBP"):
        read_recipe(data)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c SYSTEM "file:///etc/passwd">]><x>&b;&c;</x>'
)


def webp_with_xmp(packet):
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "WEBP", xmp=packet)
    return file.getvalue()


def xmp_with_recipe(text):
    packet = picture_metadata.xmp_packet(a_recipe(text="MARKER"))
    start = packet.index(b"<imagegenx:recipe>") + len(b"<imagegenx:recipe>")
    return packet[:start] + text.encode() + packet[packet.index(b"</imagegenx:recipe>") :]


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (BOMB.encode(), "the picture's metadata is damaged: XMP packet with a document type: not allowed."),
        (b"<a" * 1000, "the picture's metadata is damaged: XMP packet is not well-formed"),
        (b"\xff\xfe<\0a\0", "the picture's metadata is damaged: XMP packet is not well-formed"),
        (b" " * 4_000_001, "the picture's metadata is damaged: XMP packet of 4,000,001 bytes: the limit is 4,000,000"),
        (b"<a>" * 500_000 + b"</a>" * 500_000, "the picture carries no ImageGenX recipe."),
        (xmp_with_recipe("{"), "the picture's recipe is damaged: the recipe is not JSON"),
        (xmp_with_recipe("[" * 200_000), "the picture's recipe is damaged: "),
        (xmp_with_recipe("1" * 10_000), "the picture's recipe is damaged: "),
        (xmp_with_recipe("[1]"), "the picture's recipe is damaged: "),
        (xmp_with_recipe('{"steps":-1}'), "the picture's recipe is damaged: text: required"),
        (xmp_with_recipe(" " * 2_000_000), "the picture's recipe has 2,000,000 characters"),
    ],
    ids=["entities", "cut", "utf16", "huge", "deep", "half", "nested", "number", "list", "wrong", "long"],
)
def test_hostile_metadata_is_refused(packet, error):
    with pytest.raises(RecipeNotFoundError) as caught:
        read_recipe(webp_with_xmp(packet))
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize("format", FORMATS)
def test_any_damage_is_one_of_two_errors_or_harmless(format):
    whole = encode_picture(TINY, format, 95, LONGEST if format == "jpg" else a_recipe(text="猫"))
    random = np.random.default_rng(11)
    for _ in range(400):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 3):
            data[at] = random.integers(0, 256)
        cut = bytes(data[: random.integers(0, len(data) + 1)] if random.random() < 0.5 else data)
        try:
            read_recipe(cut)
        except (PictureError, RecipeNotFoundError):
            continue


def test_a_missing_part_of_a_long_jpeg_recipe_is_noticed():
    data = encode_picture(TINY, "jpg", 95, LONGEST)
    header = b"http://ns.adobe.com/xmp/extension/\0"
    start = data.index(header) - 4
    size = struct.unpack(">H", data[start + 2 : start + 4])[0]
    with pytest.raises(RecipeNotFoundError) as caught:
        read_recipe(data[:start] + data[start + 2 + size :])
    assert str(caught.value) == "the picture's recipe is damaged: parts of its extended XMP are missing or changed."


def test_a_packet_that_another_tool_rewrote_as_attributes_is_read():
    recipe = a_recipe(text='a "quoted" <b> & 猫')
    quoted = recipe.to_json().replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:g="urn:imagegenx:xmp:1.0" g:recipe="{quoted}"/></rdf:RDF></x:xmpmeta>'
    )
    assert read_recipe(webp_with_xmp(packet.encode())) == recipe
