"""How text is fitted, and what the worst of it costs whoever validates it."""

from pathlib import Path

import pytest

from models.shaping import shape_line
from models.text_mark import fit_text
from models.watermark_files import WatermarkError, find_font

FACE = find_font("", Path("nowhere"))
DISTINCT = "".join(chr(0x4E00 + number) for number in range(1_000))


@pytest.mark.parametrize("text", [DISTINCT, "ab cd " * 166, "\u202ea\u202c" * 333, "a\n" * 500], ids=range(4))
@pytest.mark.parametrize("room_px", [(64, 64), (4096, 60)])
def test_the_longest_texts_are_shaped_a_bounded_number_of_times(text, room_px):
    """Each letter once, for its width, and a line for each size that may fit."""
    before = shape_line.cache_info().misses
    try:
        fit_text(text, FACE, 2_000, room_px)
    except WatermarkError as exc:
        assert "does not fit" in str(exc)  # noqa: PT017  # either it fits, or this is the error
    assert shape_line.cache_info().misses - before <= 1_300


def test_words_break_between_letters_only_where_they_are_wider_than_a_line():
    block = fit_text("one twothree " + "w" * 60, FACE, 12, (70, 300))
    assert block.ink[2] - block.ink[0] <= 70
    assert len(block.lines) > 3
