"""Previews against the pictures that become of them."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from PIL import Image

from configs.settings import EngineSettings, load_settings
from models.card import ModelCard
from models.denoising.stepper import Stepper
from models.denoising.unet_model import UNetModel
from models.errors import ModelLoadError
from models.families.loading import load_family
from models.placement import choose_placement
from models.registry import open_registry
from models.request import Sampler
from tests.support.workbench import BUILTIN, OPTIONS, make_item

SIDE_PX = 128


@pytest.fixture(scope="module")
def stepper() -> Stepper:
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline.from_pretrained(str(BUILTIN / "tiny"), dtype=torch.float32, **OPTIONS)
    return Stepper(UNetModel(pipeline))


def likeness(preview: np.ndarray, picture: np.ndarray) -> float:
    """The correlation of a preview with the picture at its size."""
    small = Image.fromarray(picture).resize(preview.shape[1::-1], Image.Resampling.BOX)
    return float(np.corrcoef(preview.ravel(), np.asarray(small).ravel())[0, 1])


def fail(slot, exc) -> None:
    raise exc


# One of each kind: scaled by sigma, not scaled, with fractional timesteps, drawn anew at each step.
@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DDIM, Sampler.DPMPP_2M_KARRAS, Sampler.EULER_A])
def test_a_preview_shows_the_picture_that_comes_at_a_quarter_of_the_way(stepper, sampler) -> None:
    slot = stepper.start(make_item(model="tiny", side=SIDE_PX, steps=12, text="a red mug", sampler=sampler), ())
    previews = []
    while not slot.sampling.is_done:
        slot.wants_estimate = slot.sampling.done in (2, 11)
        stepper.step([slot], fail)
        if slot.estimate is not None:
            previews.append(stepper.preview(slot)())
    picture = stepper.pixels(slot)
    early, late = previews
    assert early.shape == late.shape == (SIDE_PX // 8, SIDE_PX // 8, 3), "one pixel for each latent"
    assert likeness(early, picture) > 0.6
    assert likeness(late, picture) > 0.9


def painted(stepper, *, watched: bool):
    """A slot at its end, its last preview, and its picture."""
    slot = stepper.start(make_item(model="tiny", side=SIDE_PX, steps=4, sampler=Sampler.EULER_A), ())
    preview = None
    while not slot.sampling.is_done:
        slot.wants_estimate = watched
        stepper.step([slot], fail)
        if watched:
            preview = stepper.preview(slot)()
    return slot, preview, stepper.pixels(slot)


def test_previews_change_no_picture(stepper) -> None:
    assert np.array_equal(painted(stepper, watched=False)[2], painted(stepper, watched=True)[2])


def a_tiny_vae(folder, latent_channels=8) -> AutoencoderTiny:
    torch.manual_seed(1)
    layers = {"encoder_block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}
    vae = AutoencoderTiny(latent_channels=latent_channels, num_decoder_blocks=(1, 1, 1, 1), **layers)
    vae.save_pretrained(folder)
    return vae


def load_with(preview_vae):
    changes = {"preview_vae": str(preview_vae), "dtype": "float32", "accelerator": "eager"}
    card = open_registry(load_settings()).card("tiny").model_copy(update=changes)
    return load_family(card, choose_placement(card, EngineSettings(device="cpu")))


@torch.no_grad()
def test_a_tiny_vae_draws_previews_of_full_size_and_changes_no_picture(tmp_path) -> None:
    vae, family = a_tiny_vae(tmp_path), load_with(tmp_path)
    slot, preview, picture = painted(family.stepper, watched=True)
    assert np.array_equal(picture, painted(family.stepper, watched=False)[2])

    expected = (vae.decode(slot.estimate).sample[0].permute(1, 2, 0) / 2 + 0.5).clip(0, 1) * 255
    assert preview.shape == (SIDE_PX, SIDE_PX, 3)
    assert np.abs(preview - expected.numpy()).max() <= 0.51
    family.release()


def test_what_is_no_tiny_vae_of_the_model_is_refused_by_name(tmp_path) -> None:
    a_tiny_vae(tmp_path / "other", latent_channels=4)
    with pytest.raises(ModelLoadError, match="takes latents of 4 channels, the model's have 8"):
        load_with(tmp_path / "other")
    with pytest.raises(ModelLoadError, match="no folder in the diffusers layout"):
        load_with(tmp_path / "nothing")
    with pytest.raises(ModelLoadError, match="holds a AutoencoderKL, not an AutoencoderTiny"):
        load_with(BUILTIN / "tiny/vae")
    a_tiny_vae(tmp_path / "cut")
    (weights,) = (tmp_path / "cut").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelLoadError, match="cut cannot be loaded"):
        load_with(tmp_path / "cut")
    with pytest.raises(ValueError, match="shows no previews"):
        ModelCard(name="any", family="diffusers", source=str(tmp_path), preview_vae=str(tmp_path))
