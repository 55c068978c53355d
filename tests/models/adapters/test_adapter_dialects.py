"""Every published layout of adapters, painted as weights merged by the layout's own software or formula are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch.nn import Linear, Parameter

from models.adapters.adapter_file import adapter_problem
from models.adapters.adapter_switch import AdapterSwitch
from models.adapters.original_names import original_names
from models.lora import LoraUse
from tests.models.adapters import dialects
from tests.models.adapters.dialects import Place, Weights, diffusers_name, kohya_name

Build = Callable[[Any, Path], Weights]


@pytest.fixture(scope="module")
def sd(random_models) -> Any:
    folder = random_models.folder / "sd"
    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)


@pytest.fixture(scope="module")
def xl(random_models) -> Any:
    return StableDiffusionXLPipeline.from_pretrained(random_models.folder / "sdxl", add_watermarker=False)


def old_diffusers(name: str) -> str:
    """What diffusers' scripts of 2023 called the tensors of attention."""
    name = re.sub(r"\.(to_[qkv])\.lora\.", r".processor.\1_lora.", name)
    name = name.replace(".to_out.0.lora.", ".processor.to_out_lora.")
    renamed = re.sub(r"self_attn\.([qkv])_proj\.lora\.", r"self_attn.to_\1_lora.", name)
    return renamed.replace("self_attn.out_proj.lora.", "self_attn.to_out_lora.")


def kohya_xl(pipeline: Any) -> Callable[[str, str], str]:
    """kohya's trainers call the layers of XL by their original names, and the first encoder te1."""
    originals = original_names(pipeline.unet)

    def name(part: str, name: str) -> str:
        if part == "unet":
            return "lora_unet_" + originals[name].replace(".", "_")
        return kohya_name(part, name).replace("lora_te_", "lora_te1_")

    return name


def comfy(pipeline: Any) -> Callable[[str, str], str]:
    originals = original_names(pipeline.unet)

    def name(part: str, name: str) -> str:
        if part == "unet":
            return f"diffusion_model.{originals[name]}"
        return f"text_encoders.clip_l.transformer.{diffusers_name(part, name).partition('.')[2]}"

    return name


AB = (".lora_A.weight", ".lora_B.weight")
SD: dict[str, Build] = {
    "kohya": lambda pipe, file: dialects.lora(pipe, file, kohya_name),
    "kohya without alphas": lambda pipe, file: dialects.lora(pipe, file, kohya_name, alpha=False),
    "kohya in float16": lambda pipe, file: dialects.lora(pipe, file, kohya_name, dtype=torch.float16),
    "kohya in bfloat16": lambda pipe, file: dialects.lora(pipe, file, kohya_name, dtype=torch.bfloat16),
    "kohya in float8": lambda pipe, file: dialects.lora(pipe, file, kohya_name, dtype=torch.float8_e4m3fn),
    "original names": lambda pipe, file: dialects.lora(pipe, file, comfy(pipe), AB, alpha=False),
    "diffusers": lambda pipe, file: dialects.lora(pipe, file, diffusers_name, AB, alpha=False),
    "diffusers, lora.down": lambda pipe, file: dialects.lora(
        pipe, file, diffusers_name, (".lora.down.weight", ".lora.up.weight"), alpha=False
    ),
    "diffusers, lora_linear_layer": lambda pipe, file: dialects.lora(
        pipe, file, diffusers_name, (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"), alpha=False
    ),
    "diffusers of 2023": lambda pipe, file: dialects.lora(
        pipe,
        file,
        diffusers_name,
        (".lora.down.weight", ".lora.up.weight"),
        alpha=False,
        kinds=(Linear,),
        rename=old_diffusers,
        size=0.12,
    ),
    "diffusers with metadata": lambda pipe, file: dialects.diffusers_file(pipe, file, lora_alpha=7),
    "diffusers, rank-stabilized": lambda pipe, file: dialects.diffusers_file(pipe, file, lora_alpha=3, use_rslora=True),
    "diffusers, alphas by layer": lambda pipe, file: dialects.diffusers_file(
        pipe, file, lora_alpha=3, alpha_pattern={"attn1.to_q": 9}, rank_pattern={"to_k": 2}
    ),
    "diffusers, DoRA": lambda pipe, file: dialects.diffusers_file(pipe, file, lora_alpha=6, use_dora=True),
    **{
        f"LyCORIS {kind}": lambda pipe, file, kind=kind: dialects.lycoris(pipe, file, kind)
        for kind in (
            "locon",
            "tucker",
            "locon-dora",
            "locon-dora-input",
            "loha",
            "loha-tucker",
            "loha-dora",
            "lokr",
            "lokr-both",
            "lokr-tucker",
            "lokr-full",
            "lokr-dora",
            "full",
            "norm",
        )
    },
}
XL: dict[str, Build] = {
    "kohya": lambda pipe, file: dialects.lora(pipe, file, kohya_xl(pipe)),
    "OneTrainer": lambda pipe, file: dialects.lora(
        pipe, file, lambda part, name: kohya_name(part, name).replace("lora_te_", "lora_te1_")
    ),
    "diffusers": lambda pipe, file: dialects.lora(pipe, file, diffusers_name, AB, alpha=False),
}


def check(pipeline: Any, file: Path, merged: Weights) -> None:
    """The adapter gives the picture that these weights make, and leaves nothing behind."""
    own = {place: parameter(pipeline, place).data for place in merged}
    untouched = {place: value.clone() for place, value in own.items()}
    plain = picture(pipeline)
    for place, value in merged.items():
        parameter(pipeline, place).data = value.detach()
    expected = picture(pipeline)
    for place, value in own.items():
        parameter(pipeline, place).data = value
    switch = AdapterSwitch(pipeline, "small", in_place=False, room_bytes=0)

    switch.use([LoraUse(file, 1.0)])
    painted = picture(pipeline)
    for place, value in merged.items():
        torch.testing.assert_close(parameter(pipeline, place).data, value, rtol=1e-4, atol=1e-5)
    switch.use([])

    assert np.abs(plain - expected).max() > 4 / 255
    assert np.abs(painted - expected).max() <= 1 / 255
    assert all(torch.equal(parameter(pipeline, place).data, value) for place, value in untouched.items())


def check_that_unknown_names_are_refused(file: Path) -> None:
    weights = load_file(file)
    odd = f"{next(iter(weights)).rsplit('.', 1)[0]}.surprise"
    save_file(weights | {odd: torch.ones(2)}, file)
    assert (adapter_problem(file) or "").startswith(f"it holds {odd}, which is no part of an adapter")


def parameter(pipeline: Any, place: Place) -> Parameter:
    part, _, layer = place[0].partition(".")
    return getattr(pipeline.components[part].get_submodule(layer), place[1])


def picture(pipeline: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    options = {"generator": torch.Generator().manual_seed(3), "output_type": "np", "height": 64, "width": 64}
    return pipeline("a red shoe", num_inference_steps=2, guidance_scale=1.0, **options).images[0]


@pytest.mark.parametrize("dialect", SD)
def test_an_adapter_paints_as_merged_weights(sd, tmp_path, dialect):
    file = tmp_path / "adapter.safetensors"

    merged = SD[dialect](sd, file)

    check(sd, file, merged)
    check_that_unknown_names_are_refused(file)


@pytest.mark.parametrize("dialect", XL)
def test_an_adapter_of_xl_paints_as_merged_weights(xl, tmp_path, dialect):
    file = tmp_path / "adapter.safetensors"

    merged = XL[dialect](xl, file)

    check(xl, file, merged)
    check_that_unknown_names_are_refused(file)


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_alpha": 16},
        {"lora_alpha": 3, "use_rslora": True},
        {"lora_alpha": 3, "alpha_pattern": {"attn1.to_q": 9}},
        {"lora_alpha": 6, "use_dora": True},
    ],
)
def test_a_folder_of_peft_paints_as_peft_merges_it(sd, tmp_path, settings):
    file, merged = dialects.peft_folder(sd, tmp_path / "peft", **settings)

    check(sd, file, merged)
    check_that_unknown_names_are_refused(file)
