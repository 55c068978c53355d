"""Text as placed glyphs, by the built-in font: what is missing, what is not, and where things stand."""

from pathlib import Path

import pytest

from models.shaping import shape_line
from models.watermark_files import find_font

FACE = find_font("", Path("nowhere"))


def shaped(text, size_px=64):
    return shape_line(text, FACE, size_px)


@pytest.mark.parametrize(
    "text",
    [
        "©\ufe0f",
        "Mu\u0308ller",
        "Vie\u0323\u0302t",
        "a\u200e\u200fb",
        "1\u202f0",
        "\ufeffa",
        "a\u2066b\u2069",
        "a\u00adb",
    ],
)
def test_what_is_not_seen_is_not_missing(text):
    assert shaped(text).missing == ()


@pytest.mark.parametrize(
    ("text", "missing"), [("a 👩\u200d🚀 b 👩\u200d🚀", ("👩\u200d🚀",)), ("猫\x07\x07", ("\x07",)), ("אב", ("א", "ב"))]
)
def test_what_is_missing_is_told_once_and_whole(text, missing):
    assert shaped(text).missing == missing or sorted(shaped(text).missing) == sorted(missing)


def test_lines_grow_with_their_size_and_their_text():
    one, two = shaped("图像"), shaped("图像", 128)
    assert two.width_px == pytest.approx(2 * one.width_px, rel=0.01)
    assert shaped("图像工").width_px == pytest.approx(1.5 * one.width_px, rel=0.01)


def test_the_ink_is_where_it_is_drawn():
    line = shaped("© Müller, g")
    mask, (left, top) = line.draw()
    box = (left, top, left + mask.width, top + mask.height)
    assert all(abs(ours - drawn) <= 1 for ours, drawn in zip(line.ink, box, strict=True))


def test_a_line_without_ink_has_no_box():
    assert shaped(" \u200b").ink is None
    assert shaped("").glyphs == ()


@pytest.mark.parametrize("override", ["\u202e12345", "\u202e123\u202c45"])
def test_an_override_turns_text_round(override):
    """Numbers of one width each, so that places tell the order."""
    plain = [glyph.number for glyph in shaped("12345").glyphs]
    turned = [glyph.number for glyph in shaped(override).glyphs if glyph.number in plain]
    digits = (override.count("\u202c") and 3) or 5
    assert turned[:digits] == plain[:digits][::-1] or turned[-digits:] == plain[:digits][::-1]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        # Hebrew, which the font has no glyphs for, is seen as "?"; the mark of its sentence stands to its left.
        ("ab\u2068אב!\u2069ab", "ab!??ab"),
        ("ab\u2068cd!\u2069ab", "abcd!ab"),
        ("ab\u2066אב!\u2069ab", "ab??!ab"),
        ("ab\u2068\u2066cd\u2069אב!\u2069ab", "ab!??cdab"),
        ("ab\u2068\u2069אב", "ab??"),
    ],
)
def test_an_isolate_takes_the_direction_of_its_first_letter(text, order):
    known = {shaped(letter).glyphs[0].number: letter for letter in "abcd!"}
    # HarfBuzz draws the isolates' own marks as spaces without a width.
    known[shaped(" ").glyphs[0].number] = ""
    assert "".join(known.get(glyph.number, "?") for glyph in shaped(text).glyphs) == order
