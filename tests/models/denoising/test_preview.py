"""Previews against the pictures that become of them."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from models.denoising.stepper import Stepper
from models.denoising.unet_model import UNetModel
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


def test_previews_change_no_picture(stepper) -> None:
    pictures = []
    for watched in (False, True):
        slot = stepper.start(make_item(model="tiny", side=SIDE_PX, steps=4, sampler=Sampler.EULER_A), ())
        while not slot.sampling.is_done:
            slot.wants_estimate = watched
            stepper.step([slot], fail)
            if watched:
                stepper.preview(slot)()
        pictures.append(stepper.pixels(slot))
    assert np.array_equal(*pictures)
