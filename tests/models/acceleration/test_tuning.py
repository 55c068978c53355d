import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from models.acceleration.availability import keep_graphs
from models.acceleration.tuning import CompiledPart, tune
from models.denoising.memory import weights_bytes
from models.denoising.unet_model import UNetModel
from models.errors import ModelError
from models.request import Mode, Sampler
from tests.support.workbench import Workbench, distance, make_item


@pytest.fixture(autouse=True)
def graphs(tmp_path, monkeypatch):
    """The folder of compiled code, which the environment names for the whole process."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "graphs"))
    return tmp_path / "graphs"


@pytest.mark.skipif(" " in sys.prefix, reason="PyTorch's compiler does not quote the paths that it links from")
# PyTorch's own, as its compiler is imported.
@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
def test_compiled_code_is_kept_with_the_home_folder_unless_the_operator_says_where(tmp_path, monkeypatch, graphs):
    keep_graphs(tmp_path / "home")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(graphs)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_graphs(graphs)

    compiled = torch.compile(lambda value: (value.sin() + value.cos()).sum())

    assert compiled(torch.zeros(8)) == 8
    assert any(file.is_file() for file in graphs.glob("fxgraph/**/*"))
    torch.compiler.reset()


def test_a_compiled_model_gives_the_latents_of_diffusers(random_models, monkeypatch):
    # The capture, shapes and padding of compiled passes, without the minutes that a C++ compiler takes for each shape.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    workbench = Workbench(random_models.folder)
    pipeline = workbench.pipelines["small"]
    items = [make_item(Mode.TEXT2IMG, seed=1, steps=2), make_item(Mode.CONTROLNET, seed=2, steps=2)]
    expected = [workbench.reference(item) for item in items]
    model = UNetModel(pipeline, workbench.models["small"].controlnets)

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


@pytest.fixture(scope="module")
def channels_last(random_models):
    """A workbench whose small model lies in memory as on a GPU."""
    workbench = Workbench(random_models.folder)
    workbench.models["small"].unet.to(memory_format=torch.channels_last)
    return workbench


@pytest.mark.parametrize("sampler", Sampler)
def test_every_pass_has_one_memory_layout_so_that_its_graph_is_used_again(channels_last, sampler):
    layouts = set()

    def watch(unet, positional, inputs):
        layouts.add((inputs["sample"].shape, inputs["sample"].stride()))

    items = [make_item(seed=seed, sampler=sampler, steps=3) for seed in (1, 2)]

    with channels_last.models["small"].unet.register_forward_pre_hook(watch, with_kwargs=True):
        channels_last.together(items, joins=[0, 1], sizes=(4,))

    assert layouts == {((4, 4, 8, 8), (256, 64, 8, 1))}


class Doubling(torch.nn.Module):
    """The least that can be compiled as a part."""

    config = None
    device = torch.device("cpu")

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return sample * 2


def test_each_shape_has_a_compiled_graph_however_many_there_are_and_its_compiling_is_told(monkeypatch, caplog):
    compiled = []

    def backend(graph, inputs):
        compiled.append(inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    caplog.set_level("INFO", "models.acceleration")
    part = CompiledPart(Doubling())

    def run(rows: int) -> torch.Tensor:
        return part(sample=torch.ones(rows, 4, 8, 8))

    # The engine's thread is not the one that loads models.
    with ThreadPoolExecutor(1) as thread:
        for _ in range(2):
            assert [len(output) for output in thread.map(run, range(1, 21))] == list(range(1, 21))

    assert len(compiled) == 20
    assert sum("rows of latents 8×8: done in" in line for line in caplog.messages) == 20
    torch.compiler.reset()


def test_what_cannot_be_compiled_is_tried_once_and_refused_as_its_recipe_says_compiled(monkeypatch):
    tries = []

    def backend(graph, inputs):
        tries.append(inputs)
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    part = CompiledPart(Doubling())

    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            part(sample=torch.ones(2, 4, 8, 8))
        assert str(caught.value).startswith(
            "the graph of Doubling for 2 rows of latents 8×8 cannot be compiled (backend='backend' raised: "
            "RuntimeError: no such instruction"
        )
        assert str(caught.value).endswith("). Use accelerator eager.")

    assert len(tries) == 1
    torch.compiler.reset()


def test_memory_that_runs_out_is_not_taken_for_a_failure_to_compile(monkeypatch):
    def backend(graph, inputs):
        def run(*inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    part = CompiledPart(Doubling())

    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            part(sample=torch.ones(2, 4, 8, 8))
    torch.compiler.reset()


def test_a_shape_that_cannot_be_compiled_leaves_the_others_alone(monkeypatch):
    tries = []

    def backend(graph, inputs):
        rows = inputs[0].shape[0]
        tries.append(rows)
        if rows == 2:
            raise RuntimeError("no such instruction")
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    part = CompiledPart(Doubling())

    def run(rows: int) -> int:
        return len(part(sample=torch.ones(rows, 4, 8, 8)))

    assert run(1) == 1
    for _ in range(2):
        with pytest.raises(ModelError):
            run(2)
    assert [run(4), run(1)] == [4, 1]
    assert tries == [1, 2, 4]
    torch.compiler.reset()
