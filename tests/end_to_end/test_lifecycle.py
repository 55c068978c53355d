"""Catalogs that look after themselves: a real Dagster instance, its daemon and code location, the built-in model."""

import hashlib
import json
import shutil

import pytest
from dagster import DagsterRunStatus
from dagster._core.execution.backfill import BulkActionStatus

from configs.settings import PACKAGE_ROOT
from io_managers.image_set import ImageSet, decode_manifest
from ops.editions import edition_folder, edition_seed, made_edition
from tests.support.dagster_daemon import DaemonHome

BUILTIN = PACKAGE_ROOT / "models/builtin"
CARD = """
family: sd
source: tiny
min_side_px: 96
max_side_px: 256
default_resolution: 96×96
defaults: {steps: 2, cfg_scale: 1.0, sampler: DDIM, resolution: 96×96}
loras: {pastel: pastel.safetensors}
"""
ROWS = 12
PLAIN = "id,text,model_type,resolution,steps,cfg_scale\n" + "".join(
    f"p{row},a red mug number {row},tiny,96x96,1,1\n" for row in range(ROWS)
)
SOFT = "id,text,lora_name\na,a blue mug,pastel\nb,a teal hat,pastel\nc,a grey lamp,\n"
BAG = "rows:\n- {id: a, text: a brown bag}\n"
TIMED = "schedule: {cron: '* * * * *', policy: reseed}\n" + BAG
DONE = (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED)


class Shop(DaemonHome):
    """A home folder whose default model is a copy of the built-in one."""

    location = "tests.support.painting_location"

    def __init__(self, folder):
        self.models = folder / "models"
        self.models.mkdir()
        shutil.copytree(BUILTIN / "tiny", self.models / "tiny")
        (self.models / "shop.yaml").write_text(CARD, encoding="utf-8")
        self.put_lora("pastel")
        settings = {
            "IMAGEGENX_MODEL_FOLDERS": json.dumps([str(self.models)]),
            "IMAGEGENX_DEFAULT_MODEL": "shop",
            # The schedule is due every minute, and the first edition is looked at only after some of them.
            "IMAGEGENX_RETENTION__EDITIONS": "50",
            "PYTHONPATH": str(PACKAGE_ROOT),
        }
        super().__init__(folder, settings)

    def put_lora(self, name):
        """Make a shipped LoRA the content of the catalog's."""
        partial = self.models / "partial"
        shutil.copyfile(BUILTIN / "loras" / f"{name}.safetensors", partial)
        partial.replace(self.models / "pastel.safetensors")

    def flip_weight(self):
        """Make other weights the model's by one bit, or the earlier ones again."""
        file = self.models / "tiny/unet/diffusion_pytorch_model.safetensors"
        data = bytearray(file.read_bytes())
        data[-4] ^= 1
        partial = self.models / "partial"
        partial.write_bytes(data)
        partial.replace(file)

    def done(self, catalog):
        """What the last whole run did for each row of a catalog."""
        return {row.row_id: str(row.status) for row in self.rows(catalog)} if self.rows(catalog, "thumbnails") else {}

    def first_reseeding(self):
        """The first run that a schedule asked for, once it has ended."""
        asked = [run for run in self.runs() if run.tags.get("imagegenx/policy") == "reseed"]
        return [run for run in asked[:1] if run.is_finished]

    def kept_rows(self, catalog, edition):
        """The rows of the pictures that an earlier edition of a catalog keeps."""
        manifest = self.store.get(f"{edition_folder(catalog, edition)}generated_images.parquet")
        return list(ImageSet(catalog, decode_manifest(manifest), self.store).rows())

    def finished_backfills(self, count):
        """All backfills, the oldest first, once so many have ended."""
        backfills = self.instance.get_backfills()[::-1]
        ended = [one for one in backfills if one.status in DONE]
        return ended if len(ended) == count else None


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("lifecycle"))
    with shop.daemon():
        yield shop
    shop.instance.dispose()


@pytest.mark.timeout(900)
def test_dropped_catalogs_become_pictures_with_no_further_action(shop):
    shop.write("plain.csv", PLAIN)
    shop.write("soft.csv", SOFT)

    shop.until(lambda: shop.materialized("gallery") == {"plain", "soft"}, "the galleries of both catalogs")

    assert shop.done("plain") == dict.fromkeys([f"p{row}" for row in range(ROWS)], "made")
    assert shop.done("soft") == dict.fromkeys("abc", "made")
    runs = shop.until_runs_end(2)
    assert [run.status for run in runs] == [DagsterRunStatus.SUCCESS] * 2
    assert {run.tags["dagster/sensor_name"] for run in runs} == {"catalog_source"}


@pytest.mark.timeout(900)
def test_three_edited_rows_make_three_pictures_and_a_new_lora_makes_anew_what_used_it(shop):
    before = shop.pictures()
    shop.put_lora("sketch")
    edited = PLAIN.replace("number 3,", "with dots,").replace("number 4,", "of glass,").replace("\np5,", "\nnew,")
    shop.write("plain.csv", edited)

    (backfill,) = shop.until(lambda: shop.finished_backfills(1), "the backfill of the new release")
    shop.until_runs_end(4)

    plain = shop.done("plain")
    assert {row for row in plain if plain[row] == "made"} == {"p3", "p4", "new"}
    assert list(plain.values()).count("reused") == ROWS - 3
    assert shop.done("soft") == {"a": "made", "b": "made", "c": "reused"}
    assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS
    assert backfill.title.endswith("1 catalogs, 2 stale rows")
    released = [run for run in shop.runs() if "imagegenx/release" in run.tags]
    assert [run.tags["dagster/backfill"] for run in released] == [backfill.backfill_id]
    assert {path: shop.pictures()[path] for path in before} == before


@pytest.mark.timeout(900)
def test_new_weights_make_anew_what_their_model_made_and_going_back_makes_nothing(shop):
    shop.flip_weight()
    backfill = shop.until(lambda: shop.finished_backfills(2), "the backfill of the new weights")[-1]
    assert shop.done("soft") == dict.fromkeys("abc", "made")
    assert backfill.title.endswith("1 catalogs, 3 stale rows")
    before = shop.pictures()

    shop.flip_weight()
    shop.until(lambda: shop.finished_backfills(3), "the backfill of the weights rolled back to")

    assert shop.done("soft") == dict.fromkeys("abc", "reused")
    assert shop.pictures() == before


@pytest.mark.timeout(900)
def test_rolling_back_makes_nothing_and_a_schedule_makes_a_new_edition_beside_the_old(shop):
    before = shop.pictures()
    shop.put_lora("pastel")
    shop.write("timed.yaml", BAG)

    shop.until(lambda: shop.finished_backfills(4), "the backfill of the release rolled back to")
    soft = shop.done("soft")
    shop.until(lambda: "timed" in shop.materialized("gallery"), "the gallery of the catalog without a schedule")
    shop.write("timed.yaml", TIMED)
    shop.until(lambda: made_edition(shop.store, "timed").edition >= 1, "the end of the scheduled edition")

    assert soft == dict.fromkeys("abc", "reused")
    assert {path: shop.pictures()[path] for path in before} == before
    (scheduled,) = shop.until(shop.first_reseeding, "the end of the scheduled run")
    assert scheduled.status is DagsterRunStatus.SUCCESS
    assert scheduled.tags["imagegenx/edition"] == "1"
    (first,) = shop.kept_rows("timed", 0)
    (now,) = shop.rows("timed")
    assert now.seed in {edition_seed(first.seed, edition) for edition in range(1, 20)}
    assert hashlib.sha256(shop.store.get(first.key)).hexdigest() == first.digest
    assert shop.store.stat(f"{edition_folder('timed', 0)}index.html")
