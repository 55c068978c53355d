import pytest
from PIL import Image

from configs.settings import Settings
from models.encoding import rgb_picture
from models.errors import ModelError
from models.recipe import PostStep
from models.request import PostProcess
from ops.stages import generated_format, recorded_change, thumbnailing, upscaling, watermarking
from tests.support.recipes import some_pixels


@pytest.fixture
def settings(tmp_path):
    from safetensors.torch import save_file

    from models.upscaling.rrdb import RRDBNet

    save_file(RRDBNet(num_features=8, num_blocks=1, growth=4).state_dict(), tmp_path / "upscaler.safetensors")
    return Settings(home=tmp_path, upscaler=tmp_path / "upscaler.safetensors")


@pytest.fixture
def picture():
    return rgb_picture(some_pixels(3))


def post(**changes):
    return PostProcess.model_validate(changes)


MARK = {"enable": True, "text": "春日"}


@pytest.mark.parametrize(
    ("asked", "formats"),
    [
        ({}, ("webp", "webp", "webp")),
        ({"super_resolution": "2x", "format": "jpg"}, ("png", "jpg", "jpg")),
        ({"watermark": MARK, "format": "jpg"}, ("png", "png", "jpg")),
        ({"super_resolution": "4x", "watermark": MARK}, ("png", "png", "webp")),
        ({"super_resolution": "4x", "watermark": MARK, "format": "png"}, ("png", "png", "png")),
    ],
)
def test_only_the_last_change_meets_a_lossy_encoder(settings, asked, formats):
    wanted = post(**asked)

    stages = generated_format, upscaling(settings).format, watermarking(settings).format

    assert tuple(stage(wanted) for stage in stages) == formats


def test_a_row_that_asks_for_nothing_is_not_changed(settings):
    assert upscaling(settings).plan(post()) is None
    assert watermarking(settings).plan(post()) is None
    assert watermarking(settings).plan(post(watermark={"text": "not enabled"})) is None


def test_upscaling_enlarges_and_runs_one_picture_at_a_time(settings, picture):
    stage = upscaling(settings)

    assert stage.plan(post(super_resolution="2x")).apply(picture).size == (128, 128)
    assert stage.plan(post(super_resolution="4x")).apply(picture).size == (256, 256)
    assert stage.threads == 1


def test_a_named_network_is_chosen_recorded_and_done_again(settings, picture, tmp_path):
    from safetensors.torch import save_file

    from models.upscaling.rrdb import RRDBNet

    save_file(RRDBNet(num_features=8, num_blocks=1, growth=4, scale=2).state_dict(), tmp_path / "soft.safetensors")
    named = Settings(home=tmp_path, upscaler=settings.upscaler, upscalers={"soft": "soft.safetensors"})
    asked = post(super_resolution="4x", upscaler="soft")
    change = upscaling(named).plan(asked)
    usual = upscaling(named).plan(post(super_resolution="4x"))

    assert change.step.params["network"] == "soft"
    assert "network" not in usual.step.params
    assert change.apply(picture).size == (256, 256)
    assert change.apply(picture).tobytes() != usual.apply(picture).tobytes()
    assert recorded_change(change.step, named).step == change.step
    with pytest.raises(ModelError, match=r"^no upscaling network is named 'soft' here\. Name its file in the setting"):
        recorded_change(change.step, settings)


def test_thumbnails_are_small_webp_copies_without_recipe(settings):
    stage = thumbnailing(settings)

    assert stage.plan(post()).apply(Image.new("RGB", (600, 300))).size == (256, 128)
    assert (stage.format(post(format="jpg")), stage.quality, stage.embed) == ("webp", 80, False)


@pytest.mark.parametrize("asked", [{"super_resolution": "2x"}, {"super_resolution": "4x"}, {"watermark": MARK}])
def test_a_recorded_step_makes_the_same_pixels_again(settings, picture, asked):
    plans = upscaling(settings).plan(post(**asked)), watermarking(settings).plan(post(**asked))
    (change,) = filter(None, plans)

    again = recorded_change(PostStep.model_validate_json(change.step.model_dump_json()), settings)

    assert again.step == change.step
    assert again.apply(picture).tobytes() == change.apply(picture).tobytes()


@pytest.mark.parametrize("step", [PostStep(op="upscale", params={"scale": 3}), PostStep(op="thumbnail", params={})])
def test_a_step_that_makes_no_picture_again_is_refused(settings, step):
    with pytest.raises(ModelError, match=f"the recipe's step '{step.op}' with .* cannot be done again"):
        recorded_change(step, settings)
