import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from models.canny import _connected, canny_edges, is_edge_map


def square(side_px: int = 64) -> np.ndarray:
    picture = np.full((side_px, side_px, 3), 230, np.uint8)
    picture[16:48, 16:48] = (30, 60, 200)
    return picture


def test_a_flat_picture_has_no_edges():
    assert not canny_edges(np.full((32, 48, 3), 90, np.uint8)).any()


def test_edges_are_thin_white_lines_along_the_outline():
    edges = canny_edges(square())
    assert edges.shape == (64, 64, 3)
    assert set(np.unique(edges)) == {0, 255}
    rows, columns = np.nonzero(edges[..., 0])
    on_outline = (np.minimum(abs(rows - 15.5), abs(rows - 47.5)) < 2) | (
        np.minimum(abs(columns - 15.5), abs(columns - 47.5)) < 2
    )
    assert on_outline.all()
    assert 100 <= len(rows) <= 140


def test_a_colour_step_of_equal_lightness_is_an_edge():
    picture = np.full((32, 32, 3), (200, 60, 60), np.uint8)
    picture[:, 16:] = (60, 110, 200)
    assert canny_edges(picture)[8:24, 14:18].any()


def test_weak_edges_count_only_where_they_touch_strong_ones():
    picture = np.full((40, 40, 3), 120, np.uint8)
    picture[:, 20:] = 150
    assert not canny_edges(picture, low=0.03, high=0.5).any()
    picture[:, 20:] = np.linspace(250, 150, 40)[:, None, None]
    assert canny_edges(picture, low=0.03, high=0.2)[36, 18:22].any()


def grown(weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The definition, a pixel further each time: weak pixels beside edges are edges."""
    edges = strong
    while True:
        padded = np.pad(edges, 1)
        height, width = edges.shape
        around = np.any([padded[r : r + height, c : c + width] for r in range(3) for c in range(3)], axis=0)
        further = (around & weak) | edges
        if (further == edges).all():
            return edges
        edges = further


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: st.tuples(*(arrays(np.bool_, s),) * 2)))
def test_edges_are_what_can_be_reached_from_strong_pixels(pixels):
    weak, strong = pixels

    for low in (weak, weak | strong):
        np.testing.assert_array_equal(_connected(low, strong), grown(low, strong))


def test_a_line_that_winds_through_the_whole_picture_is_followed_to_its_end():
    weak = np.zeros((1023, 1023), np.bool_)
    weak[::2] = True
    weak[1::4, -1] = weak[3::4, 0] = True
    strong = np.zeros_like(weak)
    strong[0, 0] = True

    np.testing.assert_array_equal(_connected(weak, strong), weak)


def test_lines_on_black_are_an_edge_map_even_scaled_or_compressed():
    edges = Image.fromarray(canny_edges(square(256)))
    compressed = io.BytesIO()
    edges.save(compressed, "jpeg", quality=80)

    assert is_edge_map(np.asarray(edges))
    assert is_edge_map(np.asarray(edges.resize((100, 100), Image.Resampling.LANCZOS)))
    assert is_edge_map(np.asarray(Image.open(compressed)))
    assert is_edge_map(np.zeros((8, 8, 3), np.uint8))


def test_plain_pictures_are_no_edge_maps():
    night = np.zeros((64, 64, 3), np.uint8)
    night[20:30, 20:50] = (240, 180, 40)
    fade = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)

    for picture in (square(), night, fade, 255 - canny_edges(square())):
        assert not is_edge_map(picture)
