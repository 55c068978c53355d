"""UNets run by OpenVINO itself: what they compute, and what is kept."""

import pytest
import torch

from models.acceleration.availability import computes_bfloat16
from models.acceleration.openvino import OpenVINOUNet
from models.acceleration.tuning import tune
from models.denoising.unet_model import UNetModel
from models.errors import ModelError
from models.request import Mode
from tests.support.workbench import Workbench, distance, make_item

pytest.importorskip("openvino")


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


@pytest.mark.skipif(not computes_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_weights_are_those_of_the_model(random_models, tmp_path):
    """Memory that is freed while a graph is written crashed large models, and would paint small ones wrong."""
    unet = Workbench(random_models.folder).pipelines["small"].unet
    inputs = {
        "sample": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
        "timestep": torch.full((2,), 500.0),
        "encoder_hidden_states": torch.zeros(2, 77, unet.config.cross_attention_dim),
    }
    with torch.no_grad():
        expected = unet(**inputs, return_dict=False)[0]
    unet.to(torch.bfloat16).to(memory_format=torch.channels_last)

    given = {name: one.to(torch.bfloat16) for name, one in inputs.items()}
    output = OpenVINOUNet(unet, tmp_path, "small")(**given)[0].float()

    assert (output - expected).abs().max() < 0.05 * expected.abs().max()


def test_nobody_is_told_that_openvino_is_used(random_models, tmp_path, monkeypatch):
    told: list[object] = []
    monkeypatch.setattr("openvino_telemetry.Telemetry.send_event", lambda *event, **more: told.append(event))
    workbench, model, sizes = tuned(random_models, tmp_path)
    workbench.together([make_item(steps=1)], sizes=sizes, model=model)
    assert told == []


def test_a_kept_graph_is_not_converted_again_but_for_other_files(random_models, engines, monkeypatch):
    workbench, model, sizes = tuned(random_models, engines)
    item = make_item(steps=1)
    workbench.together([item], sizes=sizes, model=model)
    monkeypatch.setattr(OpenVINOUNet, "_converted", _fail)
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
