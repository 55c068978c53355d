import numpy as np
import pytest

from training.dataset import SIZES, random_scenes
from training.judge import judge_background, judge_colour
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS, STYLES, Scene, reference_colours, render


def test_the_same_scene_renders_to_the_same_pixels():
    scene = Scene("mug", "teal", "mint", seed=7)
    assert (render(scene).rgb == render(scene).rgb).all()


def test_another_seed_moves_the_object():
    one, other = (render(Scene("mug", "teal", "mint", seed=seed)) for seed in (1, 2))
    assert (one.mask != other.mask).any()


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_style_keeps_the_outline(product: str):
    masks = [render(Scene(product, "blue", "white", seed=3, style=style)).mask for style in STYLES]
    assert all((mask == masks[0]).all() for mask in masks)


@pytest.mark.parametrize("size", SIZES)
def test_the_object_fits_and_fills_the_picture(size: tuple[int, int]):
    for scene in random_scenes(28, size, "photo", seed=4):
        picture = render(scene)
        assert picture.rgb.shape == (size[1], size[0], 3)
        rows, columns = np.nonzero(picture.mask > 0.5)
        assert rows.min() > 0
        assert columns.min() > 0
        assert rows.max() < size[1] - 1
        assert columns.max() < size[0] - 1
        assert max(np.ptp(rows), np.ptp(columns)) > 0.5 * min(size)


def test_asked_colours_and_backgrounds_are_the_ones_a_judge_sees():
    scenes = random_scenes(144, (128, 128), "photo", seed=5)
    pictures = [render(scene).rgb for scene in scenes]
    assert [judge_colour(picture) for picture in pictures] == [scene.colour for scene in scenes]
    assert [judge_background(picture) for picture in pictures] == [scene.background for scene in scenes]


def test_every_style_has_a_reference_for_every_colour():
    assert all(list(reference_colours(style)) == list(COLOURS) for style in STYLES)


@pytest.mark.parametrize(
    "names",
    [("sofa", "red", "white"), ("mug", "crimson", "white"), ("mug", "red", "lava")],
)
def test_an_unknown_name_is_refused_with_the_choices(names: tuple[str, str, str]):
    with pytest.raises(ValueError, match="unknown. Choose one of"):
        Scene(*names)


def test_scenes_are_spread_evenly():
    scenes = random_scenes(len(PRODUCTS) * len(COLOURS) * len(BACKGROUNDS), (128, 128), "photo", seed=6)
    assert len({(scene.product, scene.colour, scene.background) for scene in scenes}) == len(scenes)
