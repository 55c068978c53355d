from functools import partial

import pytest
import torch

from models.acceleration.tuning import tune
from models.batching.step_model import StepModel
from models.families.weights import weights_bytes
from models.request import Mode
from tests.models.batching.workbench import Workbench, distance, make_item


def test_a_compiled_model_gives_the_latents_of_diffusers(random_models, monkeypatch):
    # The capture, shapes and padding of compiled passes, without the minutes that a C++ compiler takes for each shape.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    workbench = Workbench(random_models.folder)
    pipeline = workbench.pipelines["small"]
    items = [make_item(Mode.TEXT2IMG, seed=1, steps=2), make_item(Mode.CONTROLNET, seed=2, steps=2)]
    expected = [workbench.reference(item) for item in items]
    model = StepModel(pipeline, workbench.models["small"].controlnet)

    sizes = tune(model, "compile")
    together = workbench.together(items, sizes=sizes.sizes, model=model)

    for ours, theirs in zip(together, expected, strict=True):
        assert distance(ours, theirs) < 1e-3
    torch.compiler.reset()


@pytest.mark.parametrize(("name", "mode"), [("small", Mode.CONTROLNET), ("small_xl", Mode.TEXT2IMG)])
def test_joined_projections_change_no_latents_and_take_no_memory(random_models, name, mode):
    workbench = Workbench(random_models.folder)
    model = workbench.models[name]
    item = make_item(mode, model=name, seed=1)
    expected = workbench.reference(item)
    before = weights_bytes([model.unet])

    tune(model, "eager", has_loras=False)

    assert distance(workbench.together([item])[0], expected) < 1e-5
    assert weights_bytes([model.unet]) == before
    assert any(name.endswith("to_qkv.weight") for name, _ in model.unet.named_parameters())
