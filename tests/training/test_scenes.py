import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.scenes.backdrops import backdrop
from training.scenes.bvh import FAR, build_hierarchy, intersect
from training.scenes.developing import Finish, develop, linear
from training.scenes.palette import BACKDROPS, COLOURLESS, COLOURS
from training.scenes.products import MODELS
from training.scenes.recognition import best_classes, recognised
from training.scenes.run import main
from training.scenes.shards import prints, read_shard, shard_file, write_shard
from training.scenes.studio import Layers, random_view, shoot

SMALL = (48, 48)


@pytest.fixture(scope="module")
def mug() -> Layers:
    return shot("mug", seed=3)


def shot(product: str, seed: int, size: tuple[int, int] = SMALL) -> Layers:
    rng = np.random.default_rng(seed)
    model = MODELS[product](rng)
    return shoot(model, random_view(model, rng), size, seed)


def developed(layers: Layers, colour: str, behind: str, **finish: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return develop(layers, linear(COLOURS[colour]), backdrop(behind, layers.ground, rng), Finish(grain=0, **finish))


def test_the_tree_finds_the_triangle_that_trying_all_of_them_finds():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(300, 3)).astype(np.float32)
    tree = build_hierarchy(vertices, np.arange(300, dtype=np.int32).reshape(-1, 3))
    every = np.zeros((1, 2), np.int32)
    every[0] = 0, len(tree.corners)
    world = np.array([[-9, -9, -9, 9, 9, 9]], np.float32)
    none, stack = np.zeros(len(tree.corners), np.bool_), np.empty(64, np.int32)
    for _ in range(200):
        ray = [*rng.normal(size=3) * 3, *rng.normal(size=3)]
        found = intersect(tree.boxes, tree.links, tree.corners, none, False, stack, *ray, FAR)
        assert found == intersect(world, every, tree.corners, none, False, stack, *ray, FAR)


def test_the_same_scene_gives_the_same_pixels():
    assert (shot("teapot", seed=1).light == shot("teapot", seed=1).light).all()
    assert (shot("teapot", seed=1).light != shot("teapot", seed=2).light).any()


def test_one_traced_scene_gives_every_colour(mug: Layers):
    product = mug.cover < 0.01
    names = ("red", "green", "blue", "yellow", "purple")
    for name in names:
        mean = hue(developed(mug, name, "white")[product].mean(0))
        assert min(names, key=lambda other: np.linalg.norm(mean - hue(np.array(COLOURS[other])))) == name


def hue(rgb: np.ndarray) -> np.ndarray:
    """The direction of a colour away from grey."""
    away = rgb - rgb.mean()
    return away / np.linalg.norm(away)


def test_a_white_backdrop_without_shadow_is_pure_white(mug: Layers):
    behind = mug.cover > 0.999
    assert behind.mean() > 0.3
    assert developed(mug, "red", "white", shadow=0)[behind].min() >= 253


def test_a_shadow_darkens_the_backdrop_below_the_product_only(mug: Layers):
    shaded = developed(mug, "red", "white", shadow=1)
    behind = mug.cover > 0.999
    assert shaded[behind].min() < 235
    assert shaded[:4].min() > 235


@pytest.mark.parametrize("product", MODELS)
def test_every_product_is_seen_whole(product: str):
    covered = shot(product, seed=5).cover < 0.5
    assert 0.02 < covered.mean() < 0.85
    assert not covered[[0, -1]].any()
    assert not covered[:, [0, -1]].any()


@pytest.mark.parametrize("behind", BACKDROPS)
def test_every_backdrop_has_reflectances(behind: str, mug: Layers):
    paper = backdrop(behind, mug.ground, np.random.default_rng(1))
    assert paper.shape == (*mug.cover.shape, 3)
    assert paper.min() >= 0
    assert paper.max() <= 1.6


def test_somebody_elses_classifier_recognises_the_renders():
    products = [name for name in ("wall clock", "teapot", "hat", "guitar") for _ in range(3)]
    shots = {name: prints(name, (256, 256), np.random.default_rng(12), 3) for name in dict.fromkeys(products)}
    best = best_classes(np.stack([picture for shot in shots.values() for picture, _ in shot]))
    table = recognised(products, best)
    assert np.mean([first for first, _, _ in table.values()]) >= 0.7
    assert np.mean([five for _, five, _ in table.values()]) >= 0.9


def test_the_same_number_gives_the_same_pictures():
    one, two = (prints("hat", SMALL, np.random.default_rng([7, 1]), 2) for _ in range(2))
    assert all((a == b).all() and x == y for (a, x), (b, y) in zip(one, two, strict=True))


def test_a_shard_is_written_whole_and_once(tmp_path: Path):
    write_shard(tmp_path, (16, 16), 0, 7)
    file = shard_file(tmp_path, (16, 16), 7)
    shard, written = read_shard(file), file.stat().st_mtime_ns
    assert shard.rgb.shape == (200, 16, 16, 3)
    assert shard.labels.max(0).tolist() <= [len(MODELS) - 1, len(COLOURS), len(BACKDROPS) - 1, 1, 1]
    assert set(shard.labels[:, 0]) == set(range(len(MODELS)))
    write_shard(tmp_path, (16, 16), 0, 7)
    assert file.stat().st_mtime_ns == written
    assert list(tmp_path.rglob("*.npz")) == [file]


def test_products_of_one_colour_are_products():
    assert set(COLOURLESS) <= set(MODELS)


def test_a_killed_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ["training.scenes.run", "--budget", "tiny", "--workers", "1"]
    monkeypatch.setenv("IMAGEGENX_TRAINING", str(tmp_path))
    with subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        try:
            assert any(line.startswith("vae: done") for line in first.stdout)
        finally:
            first.kill()
    shard = shard_file(tmp_path / "renders", (32, 32), 0)
    rendered = shard.stat().st_mtime_ns

    monkeypatch.setattr(sys, "argv", words)
    main()

    assert shard.stat().st_mtime_ns == rendered
    assert "renders" not in capsys.readouterr().out
    assert {file.name for file in tmp_path.glob("*.pt")} >= {"vae.pt", "text_encoder.pt", "unet.pt", "vae_refined.pt"}
    assert not list(tmp_path.rglob("*.partial"))
