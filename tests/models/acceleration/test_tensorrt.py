"""The TensorRT path with a stand-in for its compiler: what is built when, kept where, and computed."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.acceleration import building, tensorrt
from models.acceleration.export import unet_inputs
from models.acceleration.tuning import tune
from models.denoising.unet_model import UNetModel
from models.errors import ModelError
from models.request import Mode
from tests.support.model_factory import little_unet
from tests.support.workbench import Workbench, distance, make_item


class StandIn:
    """What is used of torch-tensorrt 2.11 to 2.14, with its signatures; its engines are the exported programs."""

    def __init__(self) -> None:
        self.built: list[list[tuple]] = []
        self.loaded: list[str] = []
        self.graphs = False
        self.problem: Exception | None = None
        self.save_problem: Exception | None = None
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
        if self.problem:
            raise self.problem
        return exported_program.module()

    def save(
        self,
        module,
        file_path="",
        *,
        output_format="exported_program",
        arg_inputs=None,
        dynamic_shapes=None,
        pickle_protocol=2,
    ) -> None:
        assert output_format == "exported_program"
        Path(file_path).write_bytes(b"the beginning")
        if self.save_problem:
            raise self.save_problem
        # It exports the compiled module once more, for these shapes only.
        program = torch.export.export(
            module, args=tuple(arg_inputs), kwargs={}, dynamic_shapes=dynamic_shapes, strict=False
        )
        torch.export.save(program, file_path, pickle_protocol=pickle_protocol)

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


def model_of(workbench, folder, name="small", release="r") -> tuple[UNetModel, tuple[int, ...]]:
    model = UNetModel(workbench.pipelines[name])
    return model, tune(model, "tensorrt", folder, release, has_loras=False).sizes


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


def inputs_of(unet, rows: int = 2) -> dict[str, torch.Tensor]:
    return dict(zip(("sample", "timestep", "encoder_hidden_states"), unet_inputs(unet, rows, 8, 8, 77), strict=True))


@dataclass
class Kept:
    """An engine that another process has built, and what it told meanwhile."""

    unet: UNet2DConditionModel
    folder: Path
    told: list[str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Kept:
    told = Kept(unet := little_unet(), tmp_path_factory.mktemp("engines"), [])
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setitem(sys.modules, "torch_tensorrt", StandIn())
        patch.setattr(building.logger, "info", lambda text, *values: told.told.append(text % values))
        tensorrt.TensorRTUNet(unet, told.folder, "r")(**inputs_of(unet))
    return told


@torch.no_grad()
def test_a_kept_engine_is_loaded_and_takes_any_number_of_rows(kept, stand_in):
    again = tensorrt.TensorRTUNet(kept.unet, kept.folder, "r")

    for rows in (*tensorrt.TENSORRT_SIZES.sizes, 32):
        inputs = inputs_of(kept.unet, rows)
        assert distance(again(**inputs)[0], kept.unet(**inputs, return_dict=False)[0]) < 1e-5
    assert (len(stand_in.built), len(stand_in.loaded)) == (0, 1)


def test_a_kept_engine_is_used_until_files_versions_or_shapes_change(kept, stand_in, monkeypatch):
    again = tensorrt.TensorRTUNet(kept.unet, kept.folder, "r")
    shape = (8, 8, 77)
    file = again.file(shape)

    assert list(kept.folder.iterdir()) == [file]
    assert tensorrt.TensorRTUNet(kept.unet, kept.folder, "other").file(shape) != file
    assert again.file((8, 9, 77)) != file
    monkeypatch.setattr(tensorrt, "version", lambda package: "99")
    assert again.file(shape) != file


def test_the_building_of_an_engine_is_told(kept):
    what = "TensorRT engine 1 of this model, 64×64 px and 77 tokens, 2-16 rows"

    assert [re.sub(r"\d+ s", "N s", line) for line in kept.told if not line.endswith("so far")] == [
        f"{what}: exporting (step 1 of 3), N s",
        f"{what}: compiling (step 2 of 3), N s",
        f"{what}: keeping (step 3 of 3), N s",
        f"{what}: done in N s",
    ]


def test_an_engine_that_cannot_be_built_is_tried_once_and_says_why(stand_in, tmp_path):
    stand_in.problem = RuntimeError("no kernel")
    unet = tensorrt.TensorRTUNet(inner := little_unet(), tmp_path, "r")

    for _ in range(3):
        with pytest.raises(ModelError) as caught:
            unet(**inputs_of(inner))
        assert str(caught.value) == (
            "the TensorRT engine for 64×64 px and 77 tokens cannot be built (RuntimeError: no kernel). "
            "Use accelerator compile or eager."
        )
    assert len(stand_in.built) == 1


@torch.no_grad()
def test_an_engine_that_can_be_neither_read_nor_kept_works_all_the_same(stand_in, tmp_path):
    stand_in.save_problem = OSError("disk full")
    unet = tensorrt.TensorRTUNet(inner := little_unet(), tmp_path, "r")
    inputs = inputs_of(inner)
    file = unet.file((8, 8, 77))
    file.write_bytes(b"damaged")

    assert torch.equal(unet(**inputs)[0], unet(**inputs)[0])
    assert len(stand_in.built) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_guidance_as_an_input_is_a_clear_error(workbench, stand_in, tmp_path):
    model, _ = model_of(workbench, tmp_path)

    with pytest.raises(ModelError, match="does not run models with embedded guidance; use compile or eager"):
        model.unet(**inputs_of(workbench.pipelines["small"].unet), timestep_cond=torch.zeros(2, 8))
