import hashlib
import itertools

import pytest
from PIL import Image

from benchmarks.stand_in import StandInEngine, write_stand_in_model
from configs.settings import PictureSettings
from io_managers.image_set import Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from models.image import FailedImage, open_stored_picture
from models.planning import row_seed
from models.recipe import Recipe
from models.registry import ModelRegistry
from ops.catalog.pictures import FolderFiles
from ops.catalog.reading import read_catalog
from ops.finish import Finisher
from ops.generation import Generator
from ops.input_pictures import InputPictures
from ops.making.in_process import EngineMaker
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.stored_catalogs import reuse_of


class NotingEngine(StandInEngine):
    """The stand-in, noting what it was asked to paint; it refuses prompts that mention a ghost."""

    def __init__(self):
        super().__init__()
        self.painted = []
        self.jobs = []

    def generate(self, jobs, on_step=None):
        jobs, refused = itertools.tee(jobs)
        for job in refused:
            if "ghost" in job.recipe.text:
                yield FailedImage(job.id, job.recipe, "ghosts have no colour")
            else:
                self.painted.append(job.recipe.text)
                self.jobs.append(job)
                yield from super().generate([job], on_step)


class Shop:
    """A catalog in a folder, and what it takes to paint it."""

    def __init__(self, folder):
        write_stand_in_model(folder / "models")
        self.folder = folder
        self.registry = ModelRegistry.load([folder / "models"], "stand-in")
        self.store = LocalObjectStore(folder / "store")
        self.engine = NotingEngine()

    def stream(self, csv, inputs=None):
        (self.folder / "shop.csv").write_text(csv, encoding="utf-8")
        table = read_catalog(self.folder / "shop.csv", self.registry).table
        inputs = inputs or InputPictures(FolderFiles(self.folder, "shop"), self.store, 64_000_000)
        return Generator(self.maker(), self.registry, inputs, reuse_of(self.store), quality=95).images("shop", table)

    def maker(self):
        return EngineMaker(self.engine, Finisher(self.store), PictureSettings(upload_workers=2, upload_queue=4))

    def outcomes(self, csv):
        return {row.row_id: row for row in self.stream(csv).rows}

    def materialize(self, csv):
        stream = self.stream(csv)
        ImageSetWriter(self.store, workers=2, queue=4).write("generated_images", stream)
        return list(read_image_set(self.store, "generated_images", stream.catalog).rows())


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


CSV = "id,text,resolution\na,a red mug,64x64\nb,a blue mug,128x64\nc,a green mug,64x64\n"


def test_every_row_becomes_a_picture_of_its_size_and_seed(shop):
    outcomes = shop.outcomes(CSV)

    assert set(outcomes) == {"a", "b", "c"}
    assert all(row.status is Status.MADE for row in outcomes.values())
    assert open_stored_picture(shop.store.get(outcomes["b"].key), 10_000).size == (128, 64)
    assert outcomes["b"].seed == row_seed("b")
    assert outcomes["b"].release == shop.registry.release("stand-in")
    assert Recipe.from_json(outcomes["b"].recipe).engine == "stand-in/cpu/float32"


def test_a_second_run_paints_nothing(shop):
    shop.materialize(CSV)
    shop.engine.painted.clear()

    rows = shop.materialize(CSV)

    assert shop.engine.painted == []
    assert [row.status for row in rows] == ["reused"] * 3


def test_only_edited_rows_are_painted_again(shop):
    shop.materialize(CSV)
    shop.engine.painted.clear()

    rows = shop.materialize(CSV.replace("green", "purple") + "d,a black mug,64x64\n")

    assert shop.engine.painted == ["a purple mug", "a black mug"]
    assert [row.status for row in rows] == ["reused", "reused", "made", "made"]


def test_a_new_release_of_the_model_paints_everything_again(shop):
    shop.materialize(CSV)
    shop.engine.painted.clear()
    (shop.folder / "models/stand-in/model.safetensors").write_bytes(b"trained some more")
    shop.registry = ModelRegistry.load([shop.folder / "models"], "stand-in")

    shop.materialize(CSV)

    assert shop.engine.painted == ["a red mug", "a blue mug", "a green mug"]


def test_a_run_that_broke_off_goes_on_where_it_stopped(shop):
    stream = shop.stream(CSV)
    first = next(stream.rows)
    stream.close()
    left = {one.key for one in shop.store.list("pictures/")}
    shop.engine.painted.clear()

    rows = shop.materialize(CSV)

    assert first.key in left
    assert len(shop.engine.painted) == 3 - len(left)
    assert {row.key for row in rows if row.status == "reused"} == left


def test_a_row_that_cannot_be_painted_fails_alone(shop):
    rows = shop.materialize("id,text\na,a red mug\nb,a ghost\nc,a green mug\n")

    assert [row.status for row in rows] == ["made", "failed", "made"]
    assert rows[1].error == "ghosts have no colour"
    assert rows[1].text == "a ghost"


def test_rows_with_equal_recipes_are_painted_once(shop):
    rows = shop.materialize("id,text,seed\na,a red mug,1\nb,a red mug,1\nc,a red mug,2\n")

    assert shop.engine.painted == ["a red mug", "a red mug"]
    assert [row.status for row in rows] == ["made", "reused", "made"]
    assert rows[0].key == rows[1].key != rows[2].key


def test_rows_with_equal_recipes_fail_together(shop):
    rows = shop.materialize("id,text,seed\na,a ghost,1\nb,a ghost,1\nc,a red mug,2\n")

    assert [(row.status, row.error) for row in rows[:2]] == [("failed", "ghosts have no colour")] * 2


@pytest.mark.parametrize(
    ("cells", "file_format"),
    [
        ("webp,,", "webp"),
        ("jpg,,", "jpg"),
        ("jpg,2x,", "png"),
        ("jpg,,© shop", "png"),
        ("webp,4x,© shop", "png"),
    ],
)
def test_a_picture_stays_lossless_until_its_last_change(shop, cells, file_format):
    (outcome,) = shop.outcomes(f"id,text,format,super_resolution,watermark_text\na,a mug,{cells}\n").values()

    assert outcome.format == file_format


def test_input_pictures_are_files_beside_the_catalog_or_objects_in_the_store(shop):
    write_stand_in_model(shop.folder / "models")
    card = shop.folder / "models/stand-in.yaml"
    card.write_text(card.read_text() + "modes: [text2img, img2img]\n")
    shop.registry = ModelRegistry.load([shop.folder / "models"], "stand-in")
    Image.new("RGB", (64, 64), "red").save(shop.folder / "red.png")
    data = (shop.folder / "red.png").read_bytes()
    shop.store.put("inputs/also-red.png", data, content_type="image/png")

    outcomes = shop.outcomes("id,text,image\na,a mug,red.png\nb,a mug,inputs/also-red.png\nc,a mug,blue.png\n")

    digest = hashlib.sha256(data).hexdigest()
    assert [Recipe.from_json(outcomes[id].recipe).image_digest for id in "ab"] == [digest, digest]
    assert shop.store.get(f"inputs/{digest}") == data
    assert outcomes["c"].status is Status.FAILED
    assert outcomes["c"].error == "'blue.png' is neither a file in the catalog's folder nor an object in the store."


def test_several_control_pictures_go_to_the_engine_in_their_order(shop):
    write_stand_in_model(shop.folder / "models")
    card = shop.folder / "models/stand-in.yaml"
    card.write_text(card.read_text() + "modes: [controlnet]\ncontrolnet: stand-in\ncontrolnets: {depth: stand-in}\n")
    shop.registry = ModelRegistry.load([shop.folder / "models"], "stand-in")
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(shop.folder / f"{colour}.png")
    digests = [hashlib.sha256((shop.folder / f"{colour}.png").read_bytes()).hexdigest() for colour in ("red", "blue")]

    outcomes = shop.outcomes("id,text,controls\na,a mug,depth=red.png:0.5; blue.png\nb,a mug,blue.png\n")

    several, one = (Recipe.from_json(outcomes[id].recipe) for id in "ab")
    assert [(lead.model, lead.weight, lead.digest) for lead in several.pinned_controls] == [
        ("depth", 0.5, digests[0]),
        ("", 1.0, digests[1]),
    ]
    assert (one.controls, one.control_digest) == (None, digests[1])
    assert [[picture.digest for picture in job.controls] for job in shop.engine.jobs] == [digests, digests[1:]]
    assert [picture.load().getpixel((0, 0)) for picture in shop.engine.jobs[0].controls] == [(255, 0, 0), (0, 0, 255)]


def test_a_model_without_weights_fails_its_rows_and_says_what_to_do(shop):
    (shop.folder / "models/stand-in/model.safetensors").unlink()

    outcomes = shop.outcomes(CSV)

    assert all(row.status is Status.FAILED for row in outcomes.values())
    assert outcomes["a"].error.startswith("model 'stand-in': no weights (.safetensors) in ")


def test_an_outage_of_the_store_ends_the_run_instead_of_failing_rows(shop):
    class Unreachable(LocalObjectStore):
        def stat(self, key):
            raise StoreUnavailableError("no answer")

    shop.store = Unreachable(shop.folder / "store")

    with pytest.raises(StoreUnavailableError, match="no answer"):
        shop.outcomes(CSV)


def test_planning_runs_ahead_of_the_engine_by_a_bounded_number_of_rows(shop):
    csv = "id,text\n" + "".join(f"r{number},a mug\n" for number in range(1_000))
    planned = []
    find = InputPictures.find

    class Noting(InputPictures):
        def find(self, reference):
            planned.append(reference)
            return find(self, reference)

    stream = shop.stream(csv, Noting(FolderFiles(shop.folder, "shop"), shop.store, 64_000_000))
    next(stream.rows)
    stream.close()

    assert len(planned) // 3 <= 128
    assert stream.total == 1_000


def test_kept_rows_say_which_file_they_keep(shop):
    row = shop.materialize(CSV)[0]

    kept = shop.outcomes(CSV)["a"]

    assert (kept.key, kept.size_bytes, kept.status) == (row.key, row.size_bytes, Status.REUSED)
