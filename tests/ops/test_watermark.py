"""Watermarks: glyphs, places, opacity, and what a hostile logo, font or text can not do."""

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import noto_cjk
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont, features

from configs.settings import PACKAGE_ROOT
from models.errors import PictureError
from models.recipe import INPUT_READING
from models.request import WatermarkParams
from models.shaping import shaping_identity
from ops.watermark import WatermarkError, draw_watermark, recorded_params, watermark_step
from tests.support.costly_pictures import adobe_rgb_profile, png_with
from tests.support.programs import lacking

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
NOWHERE = Path("no such folder")


def draw(image, folder=NOWHERE, **params):
    return draw_watermark(image, WatermarkParams(enable=True, **params), logo_folder=folder, fonts_folder=folder)


def plain(width_px=512, height_px=512, color="#204060"):
    return Image.new("RGB", (width_px, height_px), color)


def changed_box(before, after):
    """The box of all pixels that differ: left, top, right, bottom."""
    differ = np.any(np.asarray(before) != np.asarray(after), axis=2)
    rows, columns = np.flatnonzero(differ.any(axis=1)), np.flatnonzero(differ.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.fixture
def folder(tmp_path):
    """A folder with a half-transparent red square as a logo, and a Latin font."""
    logo = Image.new("RGBA", (100, 50), (255, 0, 0, 255))
    logo.paste((255, 0, 0, 128), (50, 0, 100, 50))
    logo.save(tmp_path / "logo.png")
    (tmp_path / "latin.ttf").write_bytes(ImageFont.load_default(10).path.getvalue())
    return tmp_path


@pytest.mark.parametrize("text", ["图像工坊", "© ImageGenX 2026", "ひらがな 한국어"])
def test_text_is_drawn_as_glyphs_that_differ_from_the_missing_one(text):
    one = draw(plain(), text=text, font_size=40, transparency=1.0)
    face = ImageFont.truetype(str(noto_cjk.otc_path("sans")), 40, index=2)
    ink = changed_box(plain(), one)
    expected = face.getmask(text).getbbox()
    assert abs((ink[2] - ink[0]) - (expected[2] - expected[0])) <= 4
    assert abs((ink[3] - ink[1]) - (expected[3] - expected[1])) <= 4
    other = draw(plain(), text="图" * len(text), font_size=40, transparency=1.0)
    assert np.any(np.asarray(one) != np.asarray(other))


def test_chinese_is_drawn_in_its_simplified_form():
    """Face 2 of the collection is SC: 骨 is drawn differently in Japan."""
    path = str(noto_cjk.otc_path("sans"))
    shapes = [bytes(ImageFont.truetype(path, 40, index=index).getmask("骨")) for index in (0, 2)]
    assert shapes[0] != shapes[1]
    mark = draw(plain(color="black"), text="骨", font_size=40, transparency=1.0, position="center").convert("L")
    drawn = mark.point(lambda level: level if level > 110 else 0)  # without the outline
    drawn = drawn.crop(drawn.getbbox()).resize((38, 38))
    away = []
    for index in (0, 2):
        expected = Image.new("L", (80, 80))
        ImageDraw.Draw(expected).text((10, 10), "骨", 255, ImageFont.truetype(path, 40, index=index))
        expected = expected.crop(expected.getbbox()).resize((38, 38))
        away.append(np.abs(np.asarray(drawn).astype(int) - np.asarray(expected)).mean())
    assert away[1] < away[0] / 1.5


@pytest.mark.parametrize("position", CORNERS)
@pytest.mark.parametrize("margin", [0, 20, 50])
def test_corner_marks_keep_the_margin_exactly(position, margin):
    left, top, right, bottom = changed_box(
        plain(), draw(plain(), text="水印 Mark", position=position, margin=margin, transparency=1.0)
    )
    across = {"left": left, "right": 512 - right}[position.split("-")[1]]
    down = {"top": top, "bottom": 512 - bottom}[position.split("-")[0]]
    assert abs(across - margin) <= 1
    assert abs(down - margin) <= 1


def test_the_centre_mark_is_in_the_middle():
    left, top, right, bottom = changed_box(plain(), draw(plain(), text="水印", position="center"))
    assert abs(left - (512 - right)) <= 2
    assert abs(top - (512 - bottom)) <= 2


@pytest.mark.parametrize("kind", [{"text": "水印"}, {"type": "image", "image_path": "logo.png"}])
def test_tiles_reach_every_quarter_of_the_picture(folder, kind):
    before = plain(512, 384)
    after = draw(before, folder, position="tile", **kind)
    differ = np.any(np.asarray(before) != np.asarray(after), axis=2)
    for row in range(2):
        for column in range(2):
            assert differ[row * 192 : (row + 1) * 192, column * 256 : (column + 1) * 256].mean() > 0.01


@pytest.mark.parametrize("color", ["#E02020", "16,200,64", "#FFFFFF", "#000000"])
def test_the_letters_have_the_asked_colour(color):
    after = draw(plain(color="#808080"), text="■", color=color, transparency=1.0, position="center", font_size=100)
    asked = tuple(int(part) for part in color.split(",")) if "," in color else tuple(bytes.fromhex(color[1:]))
    assert after.getpixel((256, 256)) == asked


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.7, 1.0])
def test_transparency_is_the_opacity_of_the_mark(opacity):
    after = draw(plain(color="#000000"), text="■", transparency=opacity, position="center", font_size=100)
    assert abs(after.getpixel((256, 256))[0] - 255 * opacity) <= 1


def test_text_is_readable_on_its_own_colour():
    white = plain(color="white")
    after = np.asarray(draw(white, text="水印", font_size=48)).astype(int)
    assert after.min() < 200


@pytest.mark.parametrize(("width_px", "font_px"), [(200, 12), (512, 25), (1000, 50)])
def test_the_default_font_size_is_a_twentieth_of_the_width_and_at_least_12(width_px, font_px):
    before = plain(width_px, 300)
    default = draw(before, text="水印")
    assert default.tobytes() == draw(before, text="水印", font_size=font_px).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    width_px=st.integers(64, 700),
    height_px=st.integers(64, 700),
    text=st.text("水印ab .\n", min_size=1, max_size=150).filter(str.strip),
    font_size=st.none() | st.integers(4, 600),
    margin=st.integers(0, 300),
    position=st.sampled_from([*CORNERS, "center"]),
)
def test_text_never_runs_off_the_picture(width_px, height_px, text, font_size, margin, position):
    before = plain(width_px, height_px)
    try:
        after = draw(before, text=text, font_size=font_size, margin=margin, position=position, transparency=1.0)
    except WatermarkError as exc:
        assert "does not fit in" in str(exc)  # noqa: PT017  # either it fits, or this is the error
        return
    left, top, right, bottom = changed_box(before, after)
    kept = min(margin, min(width_px, height_px) // 4)
    assert left >= kept
    assert top >= kept
    assert right <= width_px - kept
    assert bottom <= height_px - kept


def test_a_long_line_is_shrunk_then_wrapped():
    heights = []
    for count in (8, 20, 60, 200):
        _, top, _, bottom = changed_box(plain(), draw(plain(), text="水" * count))
        heights.append(bottom - top)
    line_px, shrunk_px, wrapped_px, block_px = heights
    assert shrunk_px < line_px
    assert shrunk_px < wrapped_px < block_px


def test_text_too_long_for_the_picture_is_a_clear_error():
    with pytest.raises(WatermarkError) as caught:
        draw(plain(64, 64), text="水" * 500)
    assert str(caught.value) == (
        "watermark text of 500 characters does not fit in 32×32 px, even at 6 px. "
        "Shorten it, or choose a smaller margin."
    )


def test_lines_are_kept_and_do_not_overlap():
    one, two = (changed_box(plain(), draw(plain(), text=text, font_size=40)) for text in ("水印", "水印\r\n水印"))
    assert 1.9 < (two[3] - two[1]) / (one[3] - one[1]) < 2.8
    assert one[2] - one[0] == two[2] - two[0]


@pytest.mark.parametrize(
    ("text", "missing"), [("猫😀", "'😀'"), ("ok\x07", r"'\x07'"), ("by 👩\u200d🚀!", r"'👩\u200d🚀'")]
)
def test_what_the_font_lacks_is_a_clear_error(text, missing):
    with pytest.raises(WatermarkError) as caught:
        draw(plain(), text=text)
    assert str(caught.value) == (
        f"watermark text: the font 'NotoSansCJK-Regular.ttc' has no glyph for {missing}. "
        "Leave it out, or name a font that has it."
    )


def test_chinese_in_a_latin_font_is_an_error_and_never_boxes(folder):
    with pytest.raises(WatermarkError) as caught:
        draw(plain(), folder, text="中文 ok 中", font="latin.ttf")
    assert str(caught.value) == (
        "watermark text: the font 'latin.ttf' has no glyph for '中 文'. Leave it out, or name a font that has it."
    )


INVISIBLY_DIFFERENT = {
    "©\ufe0f 2026": "© 2026",
    "Mu\u0308ller": "Müller",
    "Vie\u0323\u0302t": "Việt",
    "\u200eMark\u200f": "Mark",
    "\u2067Mark\u2069": "Mark",
    "\ufeffMark\ufeff": "Mark",
    "Ma\u00adrk\u200b": "Mark",
    "\U000e0041Mark": "Mark",
}


@pytest.mark.parametrize("text", INVISIBLY_DIFFERENT)
def test_texts_that_differ_in_what_cannot_be_seen_have_one_mark(text):
    assert draw(plain(), text=text).tobytes() == draw(plain(), text=INVISIBLY_DIFFERENT[text]).tobytes()


def test_a_narrow_no_break_space_is_a_space():
    narrow, none = (changed_box(plain(), draw(plain(), text=text)) for text in ("10\u202f000", "10000"))
    assert narrow[2] - narrow[0] > none[2] - none[0]


@pytest.mark.parametrize("text", ["\u200b", "\ufeff\u200e", "\U000e0041"])
def test_a_mark_that_nobody_could_see_is_refused(text):
    with pytest.raises(WatermarkError) as caught:
        draw(plain(), text=text)
    assert str(caught.value) == ("watermark text: it has nothing that could be seen. Write something, or leave it out.")


def contrast(after, before):
    """Of the letters to what is next to them, by WCAG's formula: the lightest tenth of what changed to the darkest."""
    levels = np.asarray(after)[np.any(np.asarray(after) != np.asarray(before), axis=2)] / 255
    light = np.sort(
        np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    )
    tenth = len(light) // 10
    return (light[-tenth:].mean() + 0.05) / (light[:tenth].mean() + 0.05)


@pytest.mark.parametrize("ground", ["#FFFFFF", "#F2E6D0", "#A8D0FF", "#C0C0C0"])
@pytest.mark.parametrize("font_size", [None, 12, 60])
def test_a_white_mark_can_be_read_on_a_light_picture(ground, font_size):
    before = plain(color=ground)
    after = draw(before, text="© 图像工坊 2026", font_size=font_size)
    assert contrast(after, before) >= 3


def test_a_mark_that_can_be_read_has_no_halo_and_each_tile_is_judged_for_itself():
    before = Image.new("RGB", (1024, 400), "#204060")
    before.paste("white", (512, 0, 1024, 400))
    dark, both = plain(512, 400), draw(before, text="水印", position="tile", font_size=30)
    alone = draw(dark, text="水印", position="tile", font_size=30)
    left = np.asarray(both.crop((0, 0, 400, 400)))
    assert changed_box(dark, alone)
    assert left.min(axis=(0, 1)).tolist() > [0x15, 0x30, 0x48]  # nothing of a black halo on the dark half
    assert np.asarray(both.crop((512, 0, 1024, 400))).min() < 110


def test_a_halo_s_letters_keep_the_margin():
    before = plain(color="white")
    after = draw(before, text="水印", position="bottom-right", margin=40, transparency=1.0, font_size=60)
    without = changed_box(plain(), draw(plain(), text="水印", margin=40, transparency=1.0, font_size=60))
    left, top, right, bottom = changed_box(before, after)
    assert (left, top) < without[:2]
    assert without[2:] == (512 - 40, 512 - 40)
    assert max(right, bottom) <= 512 - 40 + 12


@pytest.fixture
def dejavu(tmp_path):
    """A folder with a font that has Hebrew and Arabic."""
    file = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not file.is_file():
        lacking("no DejaVu Sans here", "fonts-dejavu-core")
    shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "text", ["שלום עולם", "مرحبا بالعالم", "© שלום 2026 (abc)", "abc שלום def", "لا إله", "Müller fi AVA", "x\u0302y"]
)
def test_text_is_ordered_and_joined_as_pillow_does_with_raqm_and_fribidi(dejavu, text):
    if not features.check("fribidi"):
        lacking("no libfribidi here to compare with", "libfribidi0")
    black = plain(color="black")
    drawn = np.asarray(draw(black, dejavu, text=text, font="DejaVuSans", font_size=48, transparency=1.0).convert("L"))
    expected = Image.new("L", (512, 512))
    face = ImageFont.truetype(dejavu / "DejaVuSans.ttf", 48, layout_engine=ImageFont.Layout.RAQM)
    ImageDraw.Draw(expected).text((10, 10), text, 255, face)
    ours, theirs = (
        Image.fromarray(one).crop(Image.fromarray(one).getbbox())
        for one in (np.where(drawn > 110, drawn, 0), np.asarray(expected))
    )
    assert abs(ours.width - theirs.width) <= 4
    resized = (np.asarray(one.resize((200, 40), Image.Resampling.BOX)).astype(int) for one in (ours, theirs))
    first, second = resized
    assert np.abs(first - second).mean() < 30
    backwards = np.abs(first[:, ::-1] - second).mean()
    assert np.abs(first - second).mean() < backwards / 2


def test_marks_have_the_same_pixels_without_pillow_s_own_layout():
    """Which depends on the system's FriBidi; python:slim has none."""
    code = (
        "import sys, hashlib; sys.modules['PIL._imagingft'] = None\n"
        "from tests.ops.test_watermark import draw, plain\n"
        "print(hashlib.sha256(draw(plain(), text='© 图像 2026').tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(draw(plain(), text="© 图像 2026").tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["latin.ttf", "latin"])
def test_fonts_are_found_by_name_and_path(folder, name):
    (folder / "more").mkdir()
    (folder / "more" / "deep.ttf").write_bytes((folder / "latin.ttf").read_bytes())
    built_in = draw(plain(), folder, text="Mark")
    own = draw(plain(), folder, text="Mark", font=name)
    assert own.tobytes() != built_in.tobytes()
    assert own.tobytes() == draw(plain(), folder, text="Mark", font="more/deep.ttf").tobytes()
    assert built_in.tobytes() == draw(plain(), folder, text="Mark", font="NotoSansCJK-Regular").tobytes()


@pytest.mark.parametrize("name", ["../outside.ttf", "link.ttf", "loop", "x" * 1000, "latin.ttf/x", "."])
def test_fonts_outside_the_folder_are_not_found(folder, name):
    inside = folder / "fonts"
    inside.mkdir()
    (folder / "outside.ttf").write_bytes((folder / "latin.ttf").read_bytes())
    (inside / "link.ttf").symlink_to(folder / "outside.ttf")
    (inside / "loop").symlink_to(inside / "loop")
    with pytest.raises(WatermarkError, match="no such file in the fonts folder"):
        draw(plain(), inside, text="Mark", font=name)


def test_an_unknown_font_names_the_nearest(folder):
    with pytest.raises(WatermarkError) as caught:
        draw(plain(), folder, text="Mark", font="latim.ttf")
    assert str(caught.value) == (
        "font 'latim.ttf': no such file in the fonts folder. Nearest: latin.ttf. "
        "Without a font, the built-in NotoSansCJK-Regular is used."
    )


def test_a_file_that_is_no_font_is_a_clear_error(folder):
    with pytest.raises(
        WatermarkError, match=r"^font 'logo\.png' cannot be read: it is no TrueType or OpenType font\.$"
    ):
        draw(plain(), folder, text="Mark", font="logo.png")


def test_a_logo_s_colours_are_those_of_its_profile_and_its_texts_may_be_of_any_size(tmp_path):
    logo = png_with(
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b"Adobe RGB\0\0" + zlib.compress(adobe_rgb_profile())),
        picture=Image.new("RGB", (40, 40), (188, 27, 61)),
    )
    (tmp_path / "logo.png").write_bytes(logo)
    after = draw(plain(), tmp_path, type="image", image_path="logo.png", position="center", transparency=1.0)
    np.testing.assert_allclose(after.getpixel((256, 256)), (220, 20, 60), atol=1)


def test_the_logo_s_own_alpha_is_multiplied(folder):
    after = draw(
        plain(color="black"), folder, type="image", image_path="logo.png", transparency=0.5, position="top-left"
    )
    assert changed_box(plain(color="black"), after) == (20, 20, 20 + 77, 20 + 38)
    assert abs(after.getpixel((30, 40))[0] - 128) <= 1
    assert abs(after.getpixel((90, 40))[0] - 64) <= 1
    assert after.getpixel((30, 40))[1:] == (0, 0)


@pytest.mark.parametrize("color", ["black", "white"])
def test_a_logo_s_edges_carry_no_fringe(tmp_path, color):
    """The colour hidden under full transparency never shows."""
    logo = Image.new("RGBA", (400, 400), (0, 255, 0, 0))
    logo.paste((128, 128, 128, 255), (100, 100, 300, 300))
    logo.save(tmp_path / "logo.png")
    after = np.asarray(draw(plain(color=color), tmp_path, type="image", image_path="logo.png", scale=0.2))
    assert np.ptp(after.astype(int), axis=2).max() <= 2


@pytest.mark.parametrize(("size", "scale"), [((512, 512), 1.0), ((64, 64), 0.5), ((2000, 64), 1.0), ((64, 2000), 0.15)])
@pytest.mark.parametrize("position", CORNERS)
def test_a_logo_keeps_its_proportions_inside_any_picture(folder, size, scale, position):
    before = plain(*size)
    after = draw(before, folder, type="image", image_path="logo.png", scale=scale, position=position)
    left, top, right, bottom = changed_box(before, after)
    margin = min(20, min(size) // 4)
    assert right - left <= size[0] - 2 * margin
    assert bottom - top <= size[1] - 2 * margin
    assert abs((right - left) - 2 * (bottom - top)) <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "1"])
def test_logos_of_any_mode_are_drawn(tmp_path, mode):
    Image.new("L", (40, 40), 255).convert(mode).save(tmp_path / "logo.png")
    after = draw(plain(color="black"), tmp_path, type="image", image_path="logo.png", transparency=1.0)
    assert after.getpixel((480, 480)) == (255, 255, 255)


@pytest.mark.parametrize(
    "name", ["../outside.png", "link.png", "/etc/hostname", "sub/../../outside.png", "..", "x" * 999]
)
def test_logos_outside_the_folder_are_not_found(folder, name):
    inside = folder / "logos"
    (inside / "sub").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "outside.png")
    (inside / "link.png").symlink_to(folder / "outside.png")
    with pytest.raises(WatermarkError, match=r"^logo '.*: no such file in the logo folder\.$"):
        draw(plain(), inside, type="image", image_path=name)


def test_an_unknown_logo_names_the_nearest(folder):
    with pytest.raises(WatermarkError) as caught:
        draw(plain(), folder, type="image", image_path="logos.png")
    assert str(caught.value) == "logo 'logos.png': no such file in the logo folder. Nearest: logo.png."


def test_a_giant_logo_is_refused_by_its_header(tmp_path):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(PictureError, match=r"bomb\.png"):
        draw(plain(), tmp_path, type="image", image_path="bomb.png")


def test_a_truncated_logo_is_a_clear_error(folder):
    whole = (folder / "logo.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match=r"^'cut\.png' cannot be read: "):
        draw(plain(), folder, type="image", image_path="cut.png")


def test_a_changed_logo_is_drawn_anew(folder):
    before = draw(plain(), folder, type="image", image_path="logo.png")
    Image.new("RGB", (100, 50), "blue").save(folder / "logo.png")
    assert draw(plain(), folder, type="image", image_path="logo.png").tobytes() != before.tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "L", "RGB"])
def test_the_original_is_not_altered_and_the_result_is_rgb(mode):
    original = plain().convert(mode)
    before = original.tobytes()
    after = draw(original, text="水印")
    assert after.mode == "RGB"
    assert after.size == original.size
    assert original.tobytes() == before


def test_marks_drawn_in_many_threads_are_all_the_same(folder):
    def both(number):
        text = draw(plain(300 + number % 3, 300), folder, text="水印 ImageGenX")
        return draw(text, folder, type="image", image_path="logo.png", position="top-left").tobytes()

    expected = [both(number) for number in range(3)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(both, range(60))) == expected * 20


def test_a_mark_that_is_not_enabled_changes_nothing():
    params = WatermarkParams(text="水印")
    after = draw_watermark(plain(), params, logo_folder=NOWHERE, fonts_folder=NOWHERE)
    assert after.tobytes() == plain().tobytes()


def test_the_step_of_a_text_mark_has_what_decides_its_pixels():
    params = WatermarkParams(enable=True, text="水印", color="255,0,0", scale=0.4, image_path="unused.png")
    step = watermark_step(params, logo_folder=NOWHERE, fonts_folder=NOWHERE)
    assert step.op == "watermark"
    assert step.params == {
        "type": "text",
        "text": "水印",
        "font": "",
        "color": "#FF0000",
        "font_size": None,
        "position": "bottom-right",
        "transparency": 0.7,
        "margin": 20,
        "shaping": shaping_identity(),
        "halo": "below 3:1 on 10%",
    }
    assert re.fullmatch(r"harfbuzz \d+\.\d+\.\d+, bidi \d+\.\d+\.\d+", shaping_identity())
    assert step.uses == hashlib.sha256(Path(noto_cjk.otc_path("sans")).read_bytes()).hexdigest()


def test_the_step_of_an_image_mark_has_what_decides_its_pixels(folder):
    params = WatermarkParams(enable=True, type="image", image_path="logo.png", text="unused")
    step = watermark_step(params, logo_folder=folder, fonts_folder=NOWHERE)
    assert step.params == {
        "type": "image",
        "image_path": "logo.png",
        "scale": 0.15,
        "position": "bottom-right",
        "transparency": 0.7,
        "margin": 20,
        "reading": INPUT_READING,
    }
    assert step.uses == hashlib.sha256((folder / "logo.png").read_bytes()).hexdigest()


def test_a_step_draws_the_same_mark_again(folder):
    params = WatermarkParams(enable=True, text="水印", position="center", font_size=33, scale=0.9)
    step = watermark_step(params, logo_folder=folder, fonts_folder=folder)
    again = draw_watermark(plain(), recorded_params(step), logo_folder=folder, fonts_folder=folder)
    assert again.tobytes() == draw(plain(), folder, **params.model_dump(exclude={"enable"})).tobytes()


@pytest.mark.parametrize("kind", ["font", "logo"])
def test_a_file_replaced_by_one_of_equal_size_and_time_is_another_step_and_another_mark(folder, kind):
    name, params = {
        "font": ("latin.ttf", {"text": "Mark", "font": "latin.ttf"}),
        "logo": ("logo.bmp", {"type": "image", "image_path": "logo.bmp"}),
    }[kind]
    Image.new("RGB", (40, 40), "red").save(folder / "logo.bmp")
    mark = WatermarkParams(enable=True, **params)
    before = watermark_step(mark, logo_folder=folder, fonts_folder=folder), draw(plain(), folder, **params).tobytes()
    file, stat, content = folder / name, (folder / name).stat(), bytearray((folder / name).read_bytes())
    if kind == "logo":
        content[-40 * 40 * 3 :] = bytes(40 * 40 * 3)
    else:
        shift = content.index(b"glyf")
        content[shift + 12 : shift + 16] = bytes(4)
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert watermark_step(mark, logo_folder=folder, fonts_folder=folder) != before[0]
    try:
        assert draw(plain(), folder, **params).tobytes() != before[1]
    except WatermarkError as exc:
        assert kind == "font"  # without its outlines it has no glyphs
        assert "has no glyph for" in str(exc)  # noqa: PT017
