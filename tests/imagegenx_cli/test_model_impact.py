import json

import pytest

from imagegenx_cli.catalogs import add_partition
from imagegenx_cli.embedded_dagster import dagster_instance
from tests.support.released_catalogs import Studio


@pytest.fixture
def studio(home, tmp_path, monkeypatch):
    studio = Studio(tmp_path)
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([str(studio.folder)]))
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "own")
    monkeypatch.setenv("IMAGEGENX_UPSCALER", str(studio.settings.upscaler))
    studio.make("plain", studio.recipe("a mug"), studio.recipe("a hat"))
    studio.make("soft", studio.recipe("a bag", lora="soft"), studio.recipe("a lamp"))
    with dagster_instance(home) as instance:
        add_partition(instance, "plain")
        add_partition(instance, "soft")
    return studio


def test_nothing_stale_is_said_so(imagegenx, studio):
    release = studio.registry.release("own")[:12]
    line = f"model 'own', release {release}: all pictures of 2 catalogs are up to date.\n"

    assert imagegenx("models", "impact", "own") == (0, line, "")


def test_the_impact_tells_catalogs_rows_and_seconds_and_makes_nothing(imagegenx, studio):
    studio.replace("soft.safetensors", "second")
    before = sorted(one.key for one in studio.store.list())

    status, output, _ = imagegenx("models", "impact", "own")

    assert status == 0
    assert [line.split() for line in output.splitlines()[1:3]] == [
        ["catalog", "rows", "stale", "to", "make", "to", "finish", "GPU", "s"],
        ["soft", "2", "1", "1", "0", "2.0"],
    ]
    assert output.splitlines()[-1] == (
        "1 of 2 catalogs, 1 stale rows, 1 pictures to make and 0 that only need later steps, in about 2 GPU s."
    )
    assert sorted(one.key for one in studio.store.list()) == before


def test_as_json_it_is_a_list(imagegenx, studio):
    studio.replace("own/model.safetensors", "second")

    _, output, _ = imagegenx("models", "impact", "own", "--json")

    assert {one["catalog"]: one["stale"] for one in json.loads(output)} == {"plain": 2, "soft": 2}


def test_an_unknown_model_names_the_nearest(imagegenx, studio):
    status, _, error = imagegenx("models", "impact", "owm")

    assert status == 1
    assert "own" in error
