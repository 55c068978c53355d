import pytest
import torch

from configs.settings import EngineSettings
from models.acceleration import availability
from models.card import ModelCard
from models.errors import AcceleratorError
from models.placement import Placement, choose_placement

GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0


def card(**fields) -> ModelCard:
    return ModelCard(name="mine", family="sd", source="weights", **fields)


def test_auto_takes_the_gpu_if_there_is_one_with_half_precision():
    expected = Placement("eager", "cuda", "float16") if GPUS else Placement("eager", "cpu", "float32")

    assert choose_placement(card(), EngineSettings()) == expected


def test_the_number_type_of_the_card_is_kept():
    assert choose_placement(card(dtype="bfloat16"), EngineSettings(device="cpu")).kind == "eager/cpu/bfloat16"


def test_which_gpu_it_was_is_no_part_of_the_kind():
    assert Placement("eager", "cuda:3", "float16").kind == "eager/cuda/float16"


@pytest.mark.parametrize("device", [f"cuda:{GPUS}", *([] if GPUS else ["cuda"])])
def test_a_gpu_that_is_not_here_is_a_clear_error(device):
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(), EngineSettings(device=device))

    assert str(caught.value) == (
        f"engine.device '{device}': PyTorch sees {GPUS} GPUs here. Use auto or cpu, or install torch for CUDA."
    )


def test_the_kind_says_that_a_model_is_compiled():
    assert choose_placement(card(accelerator="compile"), EngineSettings(device="cpu")).kind == "compile/cpu/float32"


def test_tensorrt_without_a_gpu_or_its_packages_is_a_clear_error(monkeypatch):
    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="tensorrt"), EngineSettings(device="cpu"))
    assert str(caught.value) == (
        "model 'mine': accelerator 'tensorrt' needs an NVIDIA GPU, and this is cpu. Or use auto or eager."
    )

    monkeypatch.setattr(availability, "find_spec", lambda name: None)
    with pytest.raises(AcceleratorError) as caught:
        availability.require_accelerator("tensorrt", "cuda", "mine")
    assert str(caught.value) == (
        "model 'mine': accelerator 'tensorrt' needs torch-tensorrt, which is not installed: "
        "pip install 'imagegenx[tensorrt]'. Or use auto or eager."
    )


def test_tensorrt_runs_neither_loras_nor_a_controlnet():
    with pytest.raises(ValueError, match="accelerator tensorrt runs neither LoRAs nor a controlnet: use compile"):
        card(accelerator="tensorrt", loras={"ink": "ink.safetensors"})


def test_compiling_without_a_compiler_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(AcceleratorError) as caught:
        choose_placement(card(accelerator="compile"), EngineSettings(device="cpu"))

    assert str(caught.value) == (
        "model 'mine': accelerator 'compile' needs a C++ compiler, and there is none: install g++. "
        "Or use auto or eager."
    )


def test_a_family_that_runs_as_a_whole_has_no_accelerators():
    whole = ModelCard(name="mine", family="diffusers", source="weights", accelerator="compile")

    with pytest.raises(AcceleratorError) as caught:
        choose_placement(whole, EngineSettings(device="cpu"))

    assert str(caught.value) == (
        "model 'mine': models of family 'diffusers' know no accelerator 'compile'. Use auto or eager."
    )
