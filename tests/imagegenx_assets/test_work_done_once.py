"""How often a catalog's run does the same work: counted where the work is, on a catalog of four rows."""

from collections import Counter

import pytest

from configs import settings
from models.recipe import Recipe
from resources.local_store import LocalObjectStore
from tests.imagegenx_assets.test_catalog_assets import Shop, shop  # noqa: F401  # its fixture

ROWS = "".join(f"r{n},mug {n},64x64,{'mark' if n % 2 else ''},{'2x' if n > 1 else ''}\n" for n in range(4))
CSV = f"id,text,resolution,watermark_text,super_resolution\n{ROWS}"
WRITTEN = 4 + 2 + 4 + 4
"""Pictures of a first run: generated, upscaled, marked, thumbnails."""
FINISHED = 2 + 4 + 2 * 4
"""Recipes of changed pictures, which who finishes them puts together from what is changed and the step done, and those
of the whole pictures that thumbnails are of."""
READ_BACK = 12 + 4 + 4 + 2 * 4
"""Recipes that checks read from files and the gallery from its rows, the check of marks too: other objects than those
that were written."""
STAGES_THAT_READ = {"generated_images": 3, "upscaled_images": 3, "watermarked_images": 3, "thumbnails": 2}
"""How many stages read an asset's manifest: its own, for its checks, the next one, and the gallery."""


@pytest.fixture
def work(monkeypatch) -> Counter[str]:
    """Counts of: recipes written as JSON, digests of recipes, settings read, manifests read by key."""
    counted: Counter[str] = Counter()
    dumped, hashed, got, read = Recipe.model_dump, Recipe.__dict__["digest"].func, LocalObjectStore.get, settings._read

    def dump(self, **options):
        counted["recipes as JSON"] += 1
        return dumped(self, **options)

    def digest(self):
        counted["digests"] += 1
        counted[f"digests of {id(self)}"] += 1
        alive.append(self)
        return hashed(self)

    def get(self, key):
        data = got(self, key)
        if key.startswith("manifests/"):
            counted[key.split("/")[1]] += 1
        return data

    def read_settings(file):
        counted["settings"] += 1
        return read(file)

    alive: list[Recipe] = []  # so that no two have one id
    monkeypatch.setattr(Recipe, "model_dump", dump)
    monkeypatch.setattr(Recipe.__dict__["digest"], "func", digest)
    monkeypatch.setattr(LocalObjectStore, "get", get)
    monkeypatch.setattr(settings, "_read", read_settings)
    settings._load.cache_clear()
    return counted


def test_a_run_does_everything_once(shop: Shop, work: Counter[str]):  # noqa: F811
    shop.write(CSV)
    assert shop.run().success

    per_object = [count for name, count in work.items() if name.startswith("digests of ")]
    assert max(per_object) == 1
    assert work["settings"] == 1
    assert {asset: work[asset] for asset in STAGES_THAT_READ} == STAGES_THAT_READ
    assert work["recipes as JSON"] <= WRITTEN + FINISHED + READ_BACK


def test_a_run_that_makes_nothing_reads_its_last_manifests_once_more(shop: Shop, work: Counter[str]):  # noqa: F811
    shop.write(CSV)
    assert shop.run().success
    work.clear()

    assert shop.run().success

    assert {asset: work[asset] - 1 for asset in STAGES_THAT_READ} == STAGES_THAT_READ
    assert max(count for name, count in work.items() if name.startswith("digests of ")) == 1
    assert work["settings"] == 0
