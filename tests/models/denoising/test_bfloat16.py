"""Models that compute in bfloat16 on a CPU."""

import numpy as np
import pytest
import torch

from models.acceleration.tuning import tune
from models.denoising.unet_model import UNetModel
from models.request import Mode, Sampler
from tests.support.workbench import FOLDERS, Workbench, make_item


@pytest.fixture(scope="module")
def bench(random_models):
    """The models of a workbench, in bfloat16."""
    bench = Workbench(random_models.folder)
    for name in FOLDERS:
        controlnets = {lead: part.to(torch.bfloat16) for lead, part in bench.models[name].controlnets.items()}
        bench.models[name] = UNetModel(bench.pipelines[name].to(torch.bfloat16), controlnets, upcasts_vae=True)
    return bench


@pytest.mark.parametrize("name", ["small", "small_xl"])
def test_company_changes_no_bit_and_latents_stay_in_float32(bench, name):
    items = [
        make_item(model=name, seed=1, steps=2),
        make_item(model=name, seed=2, steps=3, cfg_scale=1.0, sampler=Sampler.DPMPP_2M),
        make_item(Mode.INPAINT, model=name, seed=3, steps=3),
    ]
    if name == "small":
        items.append(make_item(Mode.CONTROLNET, seed=4, steps=2))
    sizes = tune(bench.models[name], "eager")

    together = bench.together(items, joins=[0, 1, 0], sizes=sizes)

    for item, latents in zip(items, together, strict=True):
        assert latents.dtype == torch.float32
        assert torch.equal(latents, bench.together([item], sizes=sizes)[0])


def test_pictures_are_those_of_float32_within_35_db(bench, workbench):
    item = make_item(model="tiny", text="a red mug", steps=8, cfg_scale=4.0, sampler=Sampler.DDIM, side=128)

    one, other = (_picture(place, item) for place in (bench, workbench))

    assert 10 * np.log10(1 / np.mean((one - other) ** 2)) >= 35


@torch.no_grad()
def _picture(bench, item):
    return bench.models["tiny"].decode(bench.together([item])[0]).clip(0, 1)
