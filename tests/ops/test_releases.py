"""What new releases of models make stale."""

import pytest

from configs.settings import EngineSettings
from io_managers.image_set import Status, read_image_set
from models.recipe import INPUT_READING
from models.registry import BUILTIN_CARDS, ModelRegistry
from models.request import Mode
from ops.releases import CurrentReleases, Impact, record_releases, release_impact, stale_catalogs, used_releases
from tests.support.released_catalogs import LARGE, MARKED, Studio

CATALOGS = ["plain", "soft", "large", "never made"]
DEFAULTS = {"steps": 4, "cfg_scale": 4.0, "sampler": "DDIM", "resolution": "64×64"}
"""What the recipes of these catalogs have."""


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path)
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    studio.make("soft", studio.recipe("a mug", lora="soft"), studio.recipe("a bag"))
    studio.make("large", studio.recipe("a mug", post=LARGE), studio.recipe("a bag"), studio.recipe("a lamp"))
    return studio


def stale(studio):
    return dict(stale_catalogs(studio.store, CATALOGS, studio.current))


def impact(studio, model=None):
    current = studio.current
    return {one.catalog: one for one in release_impact(studio.store, CATALOGS, current, model)}


def test_nothing_is_stale_while_nothing_changes(studio):
    assert stale(studio) == {}
    assert impact(studio) == {}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("own/model.safetensors", {"plain": 2, "soft": 2, "large": 3}),
        ("soft.safetensors", {"soft": 1}),
        ("upscaler.safetensors", {"large": 1}),
    ],
)
def test_each_file_makes_exactly_the_rows_stale_that_used_it(studio, file, expected):
    studio.replace(file, "second")

    assert stale(studio) == expected


def test_the_digests_name_what_changed(studio):
    before = studio.current.digests()
    studio.replace("soft.safetensors", "second")
    after = studio.current.digests()

    assert {name for name in before if before[name] != after[name]} == {"own"}
    assert {"own", "tiny", "upscaler"} <= set(before)


def test_the_impact_counts_rows_and_estimates_seconds_from_what_pictures_took(studio):
    studio.replace("soft.safetensors", "second")

    assert impact(studio) == {"soft": Impact("soft", rows=2, stale=1, to_make=1, to_finish=0, gpu_s=2.0)}
    assert impact(studio, "tiny") == {}


def test_rows_whose_new_picture_is_stored_are_stale_and_cost_nothing(studio):
    old = [studio.recipe("a mug"), studio.recipe("a hat")]
    studio.replace("own/model.safetensors", "second")
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    assert "plain" not in stale(studio)

    studio.replace("own/model.safetensors", "first")

    assert [studio.recipe("a mug"), studio.recipe("a hat")] == old
    assert impact(studio)["plain"] == Impact("plain", rows=2, stale=2, to_make=0, to_finish=0, gpu_s=0.0)


def test_pictures_made_from_input_pictures_that_were_read_in_another_way_are_stale(studio):
    made_from = {"mode": Mode.IMG2IMG, "strength": 0.5, "image_digest": "a" * 64}
    old, new = (
        studio.recipe(text).model_copy(update={**made_from, "input_reading": reading})
        for text, reading in (("a mug", None), ("a hat", INPUT_READING))
    )
    studio.make("plain", old, new, studio.recipe("a bag"))

    assert impact(studio)["plain"].stale == 1


def test_a_run_that_reuses_pictures_keeps_what_was_measured_before(studio):
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"), status=Status.REUSED, seconds=0.0)

    assert [used.picture_s for used in used_releases(studio.store, "plain")] == [2.0]


def test_what_is_not_here_any_more_makes_nothing_stale(studio):
    (studio.folder / "soft.safetensors").unlink()
    (studio.folder / "upscaler.safetensors").unlink()

    assert stale(studio) == {}


def test_a_new_upscaler_costs_upscaling_alone_and_new_weights_both(studio):
    studio.replace("upscaler.safetensors", "second")
    assert impact(studio) == {"large": Impact("large", rows=3, stale=1, to_make=0, to_finish=1, gpu_s=2.0)}

    studio.replace("own/model.safetensors", "second")

    assert impact(studio)["large"] == Impact("large", rows=3, stale=3, to_make=3, to_finish=0, gpu_s=8.0)


def test_a_new_logo_needs_no_gpu(studio):
    both = LARGE.model_copy(update={"watermark": MARKED.watermark})
    studio.make("plain", studio.recipe("a mug", post=MARKED), studio.recipe("a hat", post=both))
    assert stale(studio) == {}

    studio.draw_logo("blue")

    assert impact(studio) == {"plain": Impact("plain", rows=2, stale=2, to_make=0, to_finish=2, gpu_s=0.0)}


@pytest.fixture
def with_defaults(studio):
    """The same catalogs, made while the card had defaults; a row of `plain` says something else."""
    studio.write_card(defaults=DEFAULTS)
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat", steps=9, width_px=96))
    studio.make("soft", studio.recipe("a mug", lora="soft"), studio.recipe("a bag", cfg_scale=1.0))
    studio.make("large", studio.recipe("a lamp", height_px=96))
    return studio


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"steps": 8}, {"plain": 1, "soft": 2, "large": 1}),
        ({"cfg_scale": 5.0}, {"plain": 2, "soft": 1, "large": 1}),
        ({"sampler": "Euler"}, {"plain": 2, "soft": 2, "large": 1}),
        ({"resolution": "128×128"}, {"plain": 1, "soft": 2}),
        ({"sampler": None}, {"plain": 2, "soft": 2, "large": 1}),
    ],
)
def test_new_defaults_of_a_card_make_the_rows_stale_that_have_the_old_ones(with_defaults, changed, expected):
    before = with_defaults.current.digests()
    given = {name: value for name, value in {**DEFAULTS, **changed}.items() if value is not None}
    with_defaults.write_card(defaults=given)

    assert stale(with_defaults) == expected
    assert {name: one.stale for name, one in impact(with_defaults).items()} == expected
    after = with_defaults.current.digests()
    assert {name for name in before if before[name] != after[name]} == {"own"}


def test_what_was_planned_with_new_defaults_is_up_to_date_whatever_it_says(with_defaults):
    with_defaults.write_card(defaults=DEFAULTS | {"steps": 9})
    with_defaults.make("plain", with_defaults.recipe("a mug", steps=9), with_defaults.recipe("a hat"))

    assert "plain" not in stale(with_defaults)


@pytest.mark.parametrize("said", [{"dtype": "bfloat16"}, {"accelerator": "compile"}])
def test_an_engine_that_a_card_names_makes_stale_what_another_made(studio, said):
    studio.write_card(**said)

    assert stale(studio) == {"plain": 2, "soft": 2, "large": 3}


def test_an_engine_that_a_card_leaves_open_is_that_of_the_recipe(studio):
    studio.make("plain", studio.recipe("a mug", engine="compile/cuda/float16"))
    studio.make("soft", studio.recipe("a mug", engine="stand-in"))

    assert stale(studio) == {}


def test_a_decode_budget_makes_the_pictures_stale_that_it_touches_and_no_others(studio):
    plain, tiled = "eager/cuda/float16", "eager/cuda/float16/tiles-128"
    sizes = [(128, 128), (256, 192), (256, 256)]
    for name, engines in {"plain": [plain] * 3, "soft": [plain, tiled, tiled]}.items():
        recipes = zip(sizes, engines, strict=True)
        studio.make(
            name,
            *(studio.recipe("a mug", width_px=w, height_px=h, engine=engine) for (w, h), engine in recipes),
        )
    before = studio.current.digests()
    assert stale(studio) == {"soft": 2}

    studio.settings = studio.settings.model_copy(update={"engine": EngineSettings(decode_budget_pixels=128 * 128)})

    assert stale(studio) == {"plain": 2}
    assert studio.current.digests() == before | {"decode_budget": "16384"}
    studio.write_card(dtype="bfloat16")
    assert stale(studio) == {"plain": 3, "soft": 3, "large": 3}


def test_a_model_that_is_gone_keeps_no_gallery_from_its_summary(studio):
    (studio.folder / "own.yaml").rename(studio.folder / "else.yaml")
    registry = ModelRegistry.load([BUILTIN_CARDS, studio.folder], "tiny")
    manifest = read_image_set(studio.store, "watermarked_images", "plain")

    record_releases(manifest, CurrentReleases(studio.settings, registry))

    assert [used.rows for used in used_releases(studio.store, "plain")] == [2]
