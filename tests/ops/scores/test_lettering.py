"""The scorer of words in pictures."""

import noto_cjk
import pytest
from PIL import Image, ImageDraw, ImageFont

from configs.lifecycle_settings import CheckSettings
from ops.scores.scorers import open_scorers
from ops.scores.seen import Seen

LIMIT = CheckSettings().review_below["lettering"]


@pytest.fixture(scope="module")
def lettering():
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    return open_scorers(CheckSettings(scorers=["lettering"]))["lettering"]


def labelled(*lines, size=40):
    picture = Image.new("RGB", (320, 240), (236, 222, 198))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((20, 30, 300, 210), 20, (40, 110, 160))
    font = ImageFont.truetype(noto_cjk.otc_path("sans"), size)
    for number, line in enumerate(lines):
        draw.text((160, 80 + 70 * number), line, (255, 255, 255), font, anchor="mm")
    return picture


@pytest.mark.parametrize(
    ("lines", "text", "is_good"),
    [
        (["FRESH"], 'a jar with a label "Fresh" on beige', True),
        (["春日茶"], "茶叶罐，上面写着“春日茶”", True),
        (["GREEN TEA", "2026"], "a tin that says 'Green Tea' and “2026”", True),
        (["FRXQH"], 'a jar with a label "Organic" on beige', False),
        ([], 'a jar with a label "Fresh" on beige', False),
        (["GREEN TEA"], "a tin that says 'Green Tea' and “2026”", False),
        (["SALE NOW"], "a blue box on beige", False),
        ([], "a blue box on beige, the seller's best", True),
    ],
)
def test_words_are_doubted_that_are_not_as_asked(lettering, lines, text, is_good):
    assert (lettering(Seen.of(labelled(*lines), text)) >= LIMIT) is is_good


def test_marks_are_expected_and_what_bears_words_is_not_judged(lettering):
    assert lettering(Seen.of(labelled("© MY SHOP"), "a blue box", ("© My Shop",))) >= LIMIT
    assert lettering(Seen.of(labelled("© MY SHOP"), "a blue box")) < LIMIT
    assert lettering(Seen.of(labelled("THE TIMES"), "a newspaper on a table")) is None
