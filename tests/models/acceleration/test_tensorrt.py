"""The TensorRT path with a stand-in for its compiler: what is built when, kept where, and computed."""

import sys
from types import SimpleNamespace

import pytest
import torch

from models.acceleration import tensorrt
from models.acceleration.tuning import tune
from models.batching.step_model import StepModel
from models.errors import ModelError
from models.request import Mode
from tests.models.batching.workbench import Workbench, distance, make_item


class StandIn:
    """What is used of torch-tensorrt 2.11, with its signatures; its engines are the exported programs."""

    def __init__(self) -> None:
        self.built: list[list[tuple]] = []
        self.loaded: list[str] = []
        self.graphs = False
        self.dynamo = SimpleNamespace(compile=self._compile)
        self.runtime = SimpleNamespace(set_cudagraphs_mode=self._set_cudagraphs_mode)

    @staticmethod
    def Input(*, min_shape, opt_shape, max_shape, dtype):
        return SimpleNamespace(range=(tuple(min_shape), tuple(opt_shape), tuple(max_shape)), dtype=dtype)

    def _set_cudagraphs_mode(self, mode: bool) -> None:
        self.graphs = mode

    def _compile(self, exported_program, inputs=None, *, device=None, truncate_double=False):
        assert truncate_double
        self.built.append([one.range for one in inputs])
        self._program = exported_program
        return exported_program.module()

    def save(self, module, file_path="", *, output_format="exported_program", inputs=None) -> None:
        assert output_format == "exported_program"
        torch.export.save(self._program, file_path)

    def load(self, file_path=""):
        self.loaded.append(file_path)
        return torch.export.load(file_path)


@pytest.fixture
def stand_in(monkeypatch):
    one = StandIn()
    monkeypatch.setitem(sys.modules, "torch_tensorrt", one)
    return one


@pytest.fixture
def workbench(random_models):
    return Workbench(random_models.folder)


def model_of(workbench, folder, name="small", release="r") -> tuple[StepModel, tuple[int, ...]]:
    model = StepModel(workbench.pipelines[name])
    return model, tune(model, "tensorrt", folder, release).sizes


def test_pictures_are_those_of_diffusers_and_an_engine_is_built_once_for_all_rows(workbench, stand_in, tmp_path):
    model, sizes = model_of(workbench, tmp_path)
    items = [make_item(seed=1, steps=3), make_item(Mode.IMG2IMG, seed=2), make_item(seed=3, steps=2, cfg_scale=1)]
    expected = [workbench.reference(item) for item in items]

    together = workbench.together(items, sizes=sizes, model=model)

    for ours, theirs in zip(together, expected, strict=True):
        assert distance(ours, theirs) < 1e-3
    assert stand_in.graphs
    assert stand_in.built == [
        [((2, 4, 8, 8), (16, 4, 8, 8), (16, 4, 8, 8)), ((2,), (16,), (16,)), ((2, 77, 32), (16, 77, 32), (16, 77, 32))]
    ]


def test_sdxl_runs_with_its_further_inputs(workbench, stand_in, tmp_path):
    item = make_item(model="small_xl", steps=2)
    expected = workbench.reference(item)
    model, sizes = model_of(workbench, tmp_path, "small_xl")

    (ours,) = workbench.together([item], sizes=sizes, model=model)

    assert distance(ours, expected) < 1e-3
    assert len(stand_in.built[0]) == 5


def test_a_kept_engine_is_used_again_until_files_versions_or_shapes_change(workbench, stand_in, tmp_path, monkeypatch):
    model, _ = model_of(workbench, tmp_path)
    unet = workbench.pipelines["small"].unet
    inputs = dict(zip(("sample", "timestep", "encoder_hidden_states"), tensorrt.unet_inputs(unet, 2, 8, 8, 77)))  # noqa: B905
    first = model.unet(**inputs)[0]
    again = tensorrt.TensorRTUNet(unet, tmp_path, "r")
    assert torch.equal(again(**inputs)[0], first)
    assert (len(stand_in.built), len(stand_in.loaded)) == (1, 1)

    shape = (8, 8, 77)
    kept = again.file(shape)
    assert [file.name for file in tmp_path.iterdir()] == [kept.name]
    assert tensorrt.TensorRTUNet(unet, tmp_path, "other").file(shape) != kept
    assert again.file((8, 9, 77)) != kept
    monkeypatch.setattr(tensorrt, "version", lambda package: "99")
    assert again.file(shape) != kept


def test_guidance_as_an_input_is_a_clear_error(workbench, stand_in, tmp_path):
    model, _ = model_of(workbench, tmp_path)
    inputs = tensorrt.unet_inputs(workbench.pipelines["small"].unet, 2, 8, 8, 77)

    with pytest.raises(ModelError, match="does not run models with embedded guidance; use compile or eager"):
        model.unet(
            sample=inputs[0], timestep=inputs[1], encoder_hidden_states=inputs[2], timestep_cond=torch.zeros(2, 8)
        )
