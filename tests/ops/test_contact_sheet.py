"""Contact sheets."""

from collections.abc import Iterator

import pytest
from PIL import Image

from ops.contact_sheet import contact_sheet


def squares(count: int, colour: str = "red", size: tuple[int, int] = (64, 64)) -> Iterator[tuple[str, Image.Image]]:
    for number in range(count):
        yield f"picture {number}", Image.new("RGB", size, colour)


def test_pictures_stand_in_rows_each_in_the_middle_of_its_cell() -> None:
    sheet = contact_sheet(squares(5), columns=3, cell_px=96)
    gap, label = 8, 12
    assert sheet.size == (3 * (96 + gap) + gap, 2 * (96 + label + gap) + gap)
    first_row, second_row = gap + 48, gap + 96 + label + gap + 48
    centres = [gap + 48 + place * (96 + gap) for place in range(3)]
    assert [sheet.getpixel((x, first_row)) for x in centres] == [(255, 0, 0)] * 3
    assert [sheet.getpixel((x, second_row)) for x in centres[:2]] == [(255, 0, 0)] * 2
    assert sheet.getpixel((centres[2], second_row)) == (247, 245, 241)


def test_a_wide_picture_keeps_its_shape() -> None:
    sheet = contact_sheet(squares(1, size=(200, 100)), columns=1, cell_px=96)
    assert sheet.getpixel((8 + 48, 8 + 48)) == (255, 0, 0)
    assert sheet.getpixel((8 + 48, 8 + 10)) == (238, 235, 228)


def test_no_picture_is_read_after_the_limit() -> None:
    endless = iter(lambda: ("more", Image.new("RGB", (8, 8))), None)
    assert contact_sheet(endless, columns=4, cell_px=48, limit=8).height == 2 * (48 + 12 + 4) + 4


def test_labels_are_drawn_in_chinese_and_stay_in_their_cells() -> None:
    def label_pixels(label: str) -> Image.Image:
        sheet = contact_sheet([(label, Image.new("RGB", (8, 8), "white"))], columns=1, cell_px=192)
        return sheet.crop((0, 16 + 192, sheet.width, sheet.height))

    short, long = label_pixels("红色"), label_pixels("红色连衣裙" * 40)
    assert short.tobytes() != label_pixels("蓝色").tobytes()
    right_margin = long.crop((long.width - 16, 0, long.width, long.height))
    assert right_margin.getcolors() == [(right_margin.width * right_margin.height, (247, 245, 241))]


def test_no_pictures_give_a_blank_sheet() -> None:
    sheet = contact_sheet([], columns=2, cell_px=48)
    assert sheet.getcolors() == [(sheet.width * sheet.height, (247, 245, 241))]


def test_a_sheet_beyond_the_pixel_limit_is_refused_before_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^100000 rows of 10 cells of 256 px: above 100,000,000 pixels in all$"):
        contact_sheet(squares(1), columns=10, cell_px=256, limit=1_000_000)
