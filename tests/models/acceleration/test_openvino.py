"""UNets run by OpenVINO itself: what they compute, and what is kept."""

import pytest
import torch

from models.acceleration.openvino import OpenVINOUNet
from models.acceleration.tuning import tune
from models.denoising.unet_model import UNetModel
from models.errors import ModelError
from models.request import Mode
from tests.support.workbench import Workbench, distance, make_item

openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Where the graphs of all tests are kept: each is converted once."""
    return tmp_path_factory.mktemp("engines")


def tuned(random_models, engines, name="small"):
    """The model's latents before, and the model with its UNet run by OpenVINO."""
    workbench = Workbench(random_models.folder)
    model = UNetModel(workbench.pipelines[name])
    return workbench, model, tune(model, "openvino", engines, name, has_loras=False)


def test_its_latents_are_those_of_diffusers_and_company_changes_none(random_models, engines):
    items = [
        make_item(seed=1, steps=2),
        make_item(seed=2, steps=3, cfg_scale=1.0),
        make_item(Mode.IMG2IMG, seed=3, steps=4),
        make_item(seed=4, steps=1, side=72),
    ]
    workbench = Workbench(random_models.folder)
    expected = [workbench.reference(item) for item in items]
    workbench, model, sizes = tuned(random_models, engines)

    together = workbench.together(items, sizes=sizes, model=model)

    for item, ours, theirs in zip(items, together, expected, strict=True):
        assert distance(ours, theirs) < 1e-4
        assert torch.equal(ours, workbench.together([item], sizes=sizes, model=model)[0])


def test_sdxl_gets_its_further_inputs(random_models, engines):
    item = make_item(model="small_xl", steps=1)
    expected = Workbench(random_models.folder).reference(item)
    workbench, model, sizes = tuned(random_models, engines, "small_xl")

    assert distance(workbench.together([item], sizes=sizes, model=model)[0], expected) < 1e-4


def test_a_kept_graph_is_not_converted_again_but_for_other_files(random_models, engines, monkeypatch):
    workbench, model, sizes = tuned(random_models, engines)
    item = make_item(steps=1)
    workbench.together([item], sizes=sizes, model=model)
    monkeypatch.setattr(openvino, "convert_model", _fail)
    workbench, model, sizes = tuned(random_models, engines)
    workbench.together([item], sizes=sizes, model=model)

    unet = Workbench(random_models.folder).pipelines["small"].unet
    other = OpenVINOUNet(unet, engines, "another release")
    with pytest.raises(
        ModelError, match=r"for 1 rows of latents 8×8 .* cannot be built .*no converter.*Use accelerator"
    ):
        other(
            sample=torch.zeros(1, 4, 8, 8),
            timestep=torch.zeros(1),
            encoder_hidden_states=torch.zeros(1, 77, unet.config.cross_attention_dim),
        )


def _fail(*args, **options):
    raise RuntimeError("no converter")
