import hashlib
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from models.encoding import encode_picture, read_recipe
from models.recipe import PostStep
from tests.support.costly_pictures import png_with


def recipe_of(file):
    return read_recipe(file.read_bytes())


def format_of(file):
    with Image.open(file) as image:
        return image.format


def painted(imagegenx, file, *options):
    status, output, error = imagegenx("generate", "a red mug", "-o", file, *options)
    assert status == 0, error
    return output


def test_one_picture_of_the_asked_kind_is_written_with_its_recipe(imagegenx, tmp_path):
    file = tmp_path / "mug.webp"

    output = painted(
        imagegenx, file, "--resolution", "128x64", "--steps", 3, "--cfg-scale", 2, "--sampler", "Euler a", "--seed", 5,
        "--negative", "blurry",
    )  # fmt: skip

    assert output == f"{file}: 128×64, seed 5\n"
    assert format_of(file) == "WEBP"
    recipe = recipe_of(file)
    assert (recipe.text, recipe.negative_text, recipe.seed, recipe.steps) == ("a red mug", "blurry", 5, 3)
    assert (str(recipe.size), recipe.sampler, recipe.cfg_scale) == ("128×64", "Euler a", 2)


@pytest.mark.parametrize(
    ("ending", "file_format"), [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("WebP", "WEBP")]
)
def test_the_format_follows_the_files_ending(imagegenx, tmp_path, ending, file_format):
    painted(imagegenx, tmp_path / f"mug.{ending}")

    assert format_of(tmp_path / f"mug.{ending}") == file_format


def test_a_seed_not_given_is_drawn_and_recorded(imagegenx, tmp_path):
    painted(imagegenx, tmp_path / "1.png")
    painted(imagegenx, tmp_path / "2.png")

    assert recipe_of(tmp_path / "1.png").seed != recipe_of(tmp_path / "2.png").seed


def pixels(file):
    return Image.open(file).tobytes()


def test_the_printed_recipe_makes_the_same_picture_again(imagegenx, tmp_path):
    painted(imagegenx, tmp_path / "mug.png", "--seed", 11)
    _, recipe, _ = imagegenx("recipe", tmp_path / "mug.png")
    (tmp_path / "recipe.json").write_text(recipe, encoding="utf-8")

    status, _, error = imagegenx("generate", "-o", tmp_path / "again.png", "--recipe", tmp_path / "recipe.json")

    assert status == 0
    assert "warning" not in error
    assert pixels(tmp_path / "again.png") == pixels(tmp_path / "mug.png")


def test_every_problem_of_the_options_is_listed_and_nothing_is_written(imagegenx, tmp_path):
    status, output, error = imagegenx(
        "generate", "a mug", "-o", tmp_path / "mug.png", "--resolution", "511x512", "--steps", 300, "--lora", "none"
    )

    assert (status, output) == (1, "")
    assert error.startswith("error: ")
    assert [line.partition(":")[0] for line in error.removeprefix("error: ").splitlines()] == [
        "params.steps",
        "params.resolution",
        "params.lora_name",
    ]
    assert list(tmp_path.glob("*.png")) == []


def test_an_unknown_model_names_the_nearest(imagegenx, tmp_path):
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", "--model", "randon")

    assert status == 1
    assert error.startswith("error: model_type: no model 'randon'. Nearest: random. Known models: ")


def test_another_ending_is_refused_before_anything_is_loaded(imagegenx, tmp_path):
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.gif")

    assert status == 1
    assert error == "error: output: '.gif' is not the ending of a picture; use .webp, .png, .jpg, .jpeg\n"


def test_a_prompt_is_needed(imagegenx, tmp_path):
    status, _, error = imagegenx("generate", "-o", tmp_path / "mug.png")

    assert (status, error) == (1, "error: text: blank, but must say something\n")


def test_a_picture_to_start_from_is_known_by_its_digest_and_needed_again(imagegenx, tmp_path):
    Image.new("RGB", (80, 80), "red").save(tmp_path / "red.png")
    Image.new("RGB", (80, 80), "blue").save(tmp_path / "blue.png")
    painted(imagegenx, tmp_path / "mug.png", "--image", tmp_path / "red.png", "--strength", 0.5, "--seed", 3)
    digest = hashlib.sha256((tmp_path / "red.png").read_bytes()).hexdigest()
    other = hashlib.sha256((tmp_path / "blue.png").read_bytes()).hexdigest()
    (tmp_path / "r.json").write_text(recipe_of(tmp_path / "mug.png").to_json(), encoding="utf-8")
    again = ["generate", "-o", tmp_path / "again.png", "--recipe", tmp_path / "r.json"]

    assert imagegenx(*again) == (
        1, "", f"error: image: the recipe needs the picture of sha256 {digest}; give it as --image\n",
    )  # fmt: skip
    assert imagegenx(*again, "--image", tmp_path / "blue.png") == (
        1, "", f"error: image: this is the picture of sha256 {other}; the recipe needs the one of {digest}\n",
    )  # fmt: skip
    assert imagegenx(*again, "--image", tmp_path / "red.png")[0] == 0
    assert pixels(tmp_path / "again.png") == pixels(tmp_path / "mug.png")


def test_a_broken_picture_to_start_from_is_a_clear_error(imagegenx, tmp_path):
    Image.new("RGB", (80, 80), "red").save(tmp_path / "red.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "red.png").read_bytes()[:60])

    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", "--image", tmp_path / "cut.png")

    assert status == 1
    assert "error: the picture cannot be read" in error


def test_a_recipe_beside_other_options_is_refused(imagegenx, tmp_path):
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "m.png", "--recipe", "r.json", "--steps", 3)

    assert status == 1
    assert error == ("error: recipe: the recipe decides everything but the input pictures; leave out TEXT, steps\n")


def test_a_wrong_recipe_lists_what_is_wrong(imagegenx, tmp_path):
    (tmp_path / "r.json").write_text('{"text": "a mug", "steps": 0}')

    status, _, error = imagegenx("generate", "-o", tmp_path / "m.png", "--recipe", tmp_path / "r.json")

    assert status == 1
    assert "steps: 0 is below the minimum of 1" in error
    assert "seed: required, but not given" in error


def test_another_release_or_engine_is_a_warning_and_the_new_file_tells_the_truth(imagegenx, tmp_path):
    painted(imagegenx, tmp_path / "mug.png", "--seed", 3)
    recorded = json.loads(recipe_of(tmp_path / "mug.png").to_json())
    (tmp_path / "r.json").write_text(json.dumps(recorded | {"engine": "eager/cuda/float16", "release": "0" * 64}))

    status, _, error = imagegenx("generate", "-o", tmp_path / "again.png", "--recipe", tmp_path / "r.json")

    assert status == 0
    here = recorded["release"][:20]
    assert (
        f"warning: release of model 'random' is {here} here, but {'0' * 20} in the recipe: pixels may differ." in error
    )
    assert "warning: engine of model 'random' is eager/cpu/float32 here, but eager/cuda/float16 in the recipe" in error
    assert recipe_of(tmp_path / "again.png").to_json() == json.dumps(
        recorded, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def test_post_processing_in_a_recipe_is_done_again(imagegenx, home, tmp_path):
    painted(imagegenx, tmp_path / "mug.png", "--seed", 3)
    mark = {"type": "text", "text": "春日小店", "font": "", "color": "#FFFFFF", "font_size": None}
    mark |= {"position": "bottom-right", "transparency": 0.7, "margin": 4}
    steps = (PostStep(op="upscale", params={"scale": 2}, uses="old"), PostStep(op="watermark", params=mark, uses="old"))
    recipe = recipe_of(tmp_path / "mug.png")
    (tmp_path / "r.json").write_text(recipe.with_step(steps[0]).with_step(steps[1]).to_json(), encoding="utf-8")

    status, output, error = imagegenx("generate", "-o", tmp_path / "marked.png", "--recipe", tmp_path / "r.json")

    assert status == 0
    assert output == f"{tmp_path}/marked.png: 128×128, seed 3\n"
    assert error.count("the file behind the recipe's step") == 2
    steps = recipe_of(tmp_path / "marked.png").post
    assert [step.op for step in steps] == ["upscale", "watermark", "mark"]
    assert all(len(step.uses) == 64 for step in steps[:2])
    (tmp_path / "r.json").write_text(recipe_of(tmp_path / "marked.png").to_json(), encoding="utf-8")
    assert "warning" not in imagegenx("generate", "-o", tmp_path / "twice.png", "--recipe", tmp_path / "r.json")[2]
    assert pixels(tmp_path / "twice.png") == pixels(tmp_path / "marked.png")


def test_a_recipe_with_a_step_of_no_kind_we_know_is_refused(imagegenx, tmp_path):
    painted(imagegenx, tmp_path / "mug.png", "--seed", 3)
    step = PostStep(op="upscale", params={"scale": 3})
    (tmp_path / "r.json").write_text(recipe_of(tmp_path / "mug.png").with_step(step).to_json(), encoding="utf-8")

    status, _, error = imagegenx("generate", "-o", tmp_path / "again.png", "--recipe", tmp_path / "r.json")

    assert status == 1
    assert "error: the recipe's step 'upscale' with {'scale': 3} cannot be done again." in error


def test_a_picture_without_a_recipe_says_so(imagegenx, tmp_path):
    (tmp_path / "plain.webp").write_bytes(encode_picture(Image.new("RGB", (64, 64)), "webp", 90, None))

    assert imagegenx("recipe", tmp_path / "plain.webp") == (
        1, "", "error: the picture carries no ImageGenX recipe.\n",
    )  # fmt: skip


def test_a_folder_that_does_not_exist_is_a_clear_error(imagegenx, tmp_path):
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "nowhere/mug.png")

    assert status == 1
    assert error == (
        f"error: {tmp_path}/nowhere/mug.png cannot be written: there is no folder {tmp_path}/nowhere. Make it first.\n"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder.png", "it is a folder. Name a file in it."),
        ("loop.png", "Too many levels of symbolic links."),
        (f"{'名' * 90}.png", "File name too long."),
        ("file/x.png", "Not a directory."),
    ],
)
def test_a_place_that_cannot_be_written_is_noticed_before_painting(imagegenx, tmp_path, name, reason):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "file").write_text("")

    assert imagegenx("generate", "a mug", "-o", name) == (1, "", f"error: {name} cannot be written: {reason}\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"folder.png", "loop.png", "file", "home"}


def test_a_picture_and_a_mask_with_texts_of_any_size_are_read(imagegenx, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_MARKS__POLICY", "metadata")
    text = (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000)))
    (tmp_path / "photo.png").write_bytes(png_with(text, picture=Image.new("RGB", (128, 128), "teal")))
    mask = Image.new("RGBA", (128, 128), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (32, 58, 96, 62))
    (tmp_path / "mask.png").write_bytes(png_with(text, picture=mask))
    painted(
        imagegenx, tmp_path / "mug.png",
        "--image", tmp_path / "photo.png", "--mask", tmp_path / "mask.png", "--steps", 2, "--resolution", "128x128",
    )  # fmt: skip

    painting = np.asarray(Image.open(tmp_path / "mug.png"))
    outside = np.asarray(mask)[..., 3] == 0
    assert (painting[outside] == (0, 128, 128)).all()
    assert (painting[~outside] != (0, 128, 128)).any()


def test_a_mask_that_masks_nothing_is_refused_by_name(imagegenx, tmp_path):
    Image.new("RGB", (128, 128), "teal").save(tmp_path / "photo.png")
    Image.fromarray(np.eye(128, dtype=np.uint8)).save(tmp_path / "mask.png")
    files = ["--image", tmp_path / "photo.png", "--mask", tmp_path / "mask.png"]
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", *files)

    assert status != 0
    assert "the mask is black: its brightest value is 1" in error
    assert "save white as 255" in error


def test_several_loras_are_added_up_each_with_its_weight(imagegenx, tmp_path):
    file = tmp_path / "mug.png"

    loras = ("--lora", "sketch", "--lora", "pastel", "--lora-weight", "0.5", "--lora-weight", "0.25")
    painted(imagegenx, file, "--model", "tiny", "--steps", "1", *loras)
    refused = imagegenx("generate", "a mug", "-o", file, "--model", "tiny", "--lora", "sketch", *loras[4:])

    assert [(lora.name, lora.weight) for lora in recipe_of(file).loras] == [("pastel", 0.25), ("sketch", 0.5)]
    assert refused[0] != 0
    assert "2 weights for 1 LoRAs. Give --lora-weight once for each --lora, or not at all" in refused[2]


def test_who_asks_for_what_the_model_cannot_paint_is_told(imagegenx, tmp_path):
    status, output, error = imagegenx("generate", "一只猫", "-o", tmp_path / "cat.png", "--model", "tiny", "--steps", 1)

    assert (status, output.startswith(f"{tmp_path}/cat.png: ")) == (0, True)
    assert "hint: 模型“tiny”只会画：T恤、连衣裙、" in error
