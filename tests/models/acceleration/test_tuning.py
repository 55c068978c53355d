from functools import partial

import torch

from models.acceleration.tuning import tune
from models.batching.step_model import StepModel
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
