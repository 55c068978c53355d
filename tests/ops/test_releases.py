"""What new releases of models make stale."""

import pytest

from io_managers.image_set import Status
from ops.releases import CurrentReleases, Impact, release_impact, stale_catalogs, used_releases
from tests.released_catalogs import Studio

CATALOGS = ["plain", "soft", "large", "never made"]


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path)
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    studio.make("soft", studio.recipe("a mug", lora="soft"), studio.recipe("a bag"))
    studio.make("large", studio.recipe("a mug", scale="2x"), studio.recipe("a bag"), studio.recipe("a lamp"))
    return studio


def stale(studio):
    return dict(stale_catalogs(studio.store, CATALOGS, CurrentReleases(studio.settings, studio.registry)))


def impact(studio, model=None):
    current = CurrentReleases(studio.settings, studio.registry)
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
    before = CurrentReleases(studio.settings, studio.registry).digests()
    studio.replace("soft.safetensors", "second")
    after = CurrentReleases(studio.settings, studio.registry).digests()

    assert {name for name in before if before[name] != after[name]} == {"own"}
    assert {"own", "tiny", "upscaler"} <= set(before)


def test_the_impact_counts_rows_and_estimates_seconds_from_what_pictures_took(studio):
    studio.replace("soft.safetensors", "second")

    assert impact(studio) == {"soft": Impact("soft", rows=2, stale=1, to_make=1, gpu_s=4.0)}
    assert impact(studio, "tiny") == {}


def test_rows_whose_new_picture_is_stored_are_stale_and_cost_nothing(studio):
    old = [studio.recipe("a mug"), studio.recipe("a hat")]
    studio.replace("own/model.safetensors", "second")
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    assert "plain" not in stale(studio)

    studio.replace("own/model.safetensors", "first")

    assert [studio.recipe("a mug"), studio.recipe("a hat")] == old
    assert impact(studio)["plain"] == Impact("plain", rows=2, stale=2, to_make=0, gpu_s=0.0)


def test_a_run_that_reuses_pictures_keeps_what_was_measured_before(studio):
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"), status=Status.REUSED, seconds=0.0)

    assert [used.picture_s for used in used_releases(studio.store, "plain")] == [4.0]


def test_what_is_not_here_any_more_makes_nothing_stale(studio):
    (studio.folder / "soft.safetensors").unlink()
    (studio.folder / "upscaler.safetensors").unlink()

    assert stale(studio) == {}
