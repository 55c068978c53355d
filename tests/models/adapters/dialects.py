"""Adapters in every published layout for a small model, and the weights that they make by the published formulas."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Conv2d, GroupNorm, LayerNorm, Linear, Module

Place = tuple[str, str]
"""A layer of the pipeline, like `unet.conv_in`, and `weight` or `bias`."""

Weights = dict[Place, Tensor]
Names = Callable[[str, str], str]
"""Gives a layer's name in a file by network and name."""

PARTS = ("unet", "text_encoder", "text_encoder_2")
KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


class Layer(NamedTuple):
    """A layer of a pipeline."""

    part: str
    name: str
    module: Any


def layers(pipeline: Any, kinds: tuple[type[Module], ...] = (Linear, Conv2d)) -> Iterator[Layer]:
    """All layers of these kinds, of all networks that adapters change."""
    for part in PARTS:
        for name, module in getattr(pipeline, part).named_modules() if hasattr(pipeline, part) else ():
            if isinstance(module, kinds):
                yield Layer(part, name, module)


def kohya_name(part: str, name: str) -> str:
    """What kohya's trainers call a layer of Stable Diffusion 1.x."""
    bare = name if part == "unet" or name.startswith("text_") else f"text_model.{name}"
    return KOHYA[part] + bare.replace(".", "_")


def diffusers_name(part: str, name: str) -> str:
    """What diffusers' training scripts call it."""
    bare = name if part == "unet" or name.startswith("text_") else f"text_model.{name}"
    return f"{part}.{bare}"


def rank_matrices(layer: Layer, rank: int, random: torch.Generator, size: float) -> tuple[Tensor, Tensor]:
    """Down and up of a LoRA of the layer."""
    shape = layer.module.weight.shape
    ones = (1,) * (len(shape) - 2)
    down = torch.randn(rank, *shape[1:], generator=random) * size
    return down, torch.randn(shape[0], rank, *ones, generator=random) * size


def lora(
    pipeline: Any,
    file: Path,
    names: Names,
    ends: tuple[str, str] = (".lora_down.weight", ".lora_up.weight"),
    *,
    alpha: bool = True,
    dtype: torch.dtype = torch.float32,
    kinds: tuple[type[Module], ...] = (Linear, Conv2d),
    rename: Callable[[str], str] = str,
    size: float = 0.06,
) -> Weights:
    """A LoRA whose ranks and alphas differ from layer to layer."""
    random, tensors, merged = torch.Generator().manual_seed(1), {}, {}
    for number, layer in enumerate(layers(pipeline, kinds)):
        rank = 2 + number % 3
        down, up = (matrix.to(dtype) for matrix in rank_matrices(layer, rank, random, size))
        name = names(layer.part, layer.name)
        tensors |= {rename(name + ends[0]): down, rename(name + ends[1]): up}
        scale = 1.0
        if alpha:
            tensors[f"{name}.alpha"] = torch.tensor(1.0 + number % 5)
            scale = (1.0 + number % 5) / rank
        change = scale * (up.float().flatten(1) @ down.float().flatten(1))
        merged[_place(layer)] = layer.module.weight + change.reshape(layer.module.weight.shape)
    save_file(tensors, file)
    return merged


def lycoris(pipeline: Any, file: Path, kind: str) -> Weights:
    """What LyCORIS' own modules write and merge.

    Args:
        kind: locon, tucker, loha, loha-tucker, lokr, lokr-full, full, norm, or one of the first ones with `dora`.
    """
    torch.manual_seed(5)
    tensors, merged = {}, {}
    for layer in layers(pipeline, (GroupNorm, LayerNorm) if kind == "norm" else (Linear, Conv2d)):
        module = _lycoris_module(layer, kind)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.numel() > 1:
                    spread = 0.02 if kind in ("full", "norm") else 0.15
                    parameter.add_(torch.randn_like(parameter) * spread)
            weight, bias = _lycoris_merged(layer, module)
        tensors |= {
            f"{kohya_name(*layer[:2])}.{name}": value
            for name, value in (module.custom_state_dict() or module.state_dict()).items()
        }
        merged[_place(layer)] = weight
        if bias is not None:
            merged[_place(layer, "bias")] = bias
    save_file({name: torch.as_tensor(value).detach().contiguous() for name, value in tensors.items()}, file)
    return merged


def _lycoris_merged(layer: Layer, module: Any) -> tuple[Tensor, Tensor | None]:
    shape = layer.module.weight.shape
    if not isinstance(module, LohaModule | LokrModule):
        return module.get_merged_weight(1.0, shape)  # type: ignore[no-any-return]
    # As it computes in training: `get_merged_weight` of these two scales twice (4.1.3).
    weight = layer.module.weight + module.get_weight(shape)
    return module.apply_weight_decompose(weight) if module.wd else weight, None


def _lycoris_module(layer: Layer, kind: str) -> Any:
    kinds = {"locon": LoConModule, "tucker": LoConModule, "loha": LohaModule, "lokr": LokrModule}
    options: dict[str, Any] = {"lora_dim": 3, "alpha": 2.0, "weight_decompose": "dora" in kind}
    head = kind.partition("-")[0]
    if "tucker" in kind:
        options["use_tucker"] = True
    if "input" in kind:
        options["wd_on_out"] = False
    if head == "lokr":
        options |= {"factor": 4, "decompose_both": "both" in kind, "full_matrix": "full" in kind}
    if head == "norm":
        return NormModule("layer", layer.module)
    if head == "full":
        module = FullModule("layer", layer.module)
        module.apply_to()
        module.restore()
        return module
    return kinds[head]("layer", layer.module, **options)


def peft_folder(pipeline: Any, folder: Path, **settings: Any) -> tuple[Path, Weights]:
    """What PEFT saves of a UNet's adapter, and what it merges."""
    config = LoraConfig(**{"r": 4, "init_lora_weights": False, "target_modules": TARGETS, **settings})
    model = get_peft_model(copy.deepcopy(pipeline.unet), config)
    _strengthen(model)
    model.save_pretrained(folder)
    merged = _peft_merged(model, "base_model.model.")
    return folder / "adapter_model.safetensors", merged


TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "proj_in"]


def diffusers_file(pipeline: Any, file: Path, **settings: Any) -> Weights:
    """What diffusers saves of PEFT's adapter, with its configuration in the file's metadata."""
    from peft.utils import get_peft_model_state_dict

    config = LoraConfig(**{"r": 4, "init_lora_weights": False, "target_modules": TARGETS, **settings})
    unet = copy.deepcopy(pipeline.unet)
    unet.add_adapter(config)
    _strengthen(unet)
    merged = _peft_merged(unet, "")
    type(pipeline).save_lora_weights(
        file.parent,
        unet_lora_layers=get_peft_model_state_dict(unet),
        weight_name=file.name,
        unet_lora_adapter_metadata=json.loads(json.dumps(config.to_dict(), default=sorted)),
    )
    return merged


def _strengthen(model: Module) -> None:
    """PEFT's random matrices, made strong enough to be seen, and what it begins with made no longer neutral."""
    torch.manual_seed(9)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_magnitude" in name:
                parameter.mul_(1.0 + 0.3 * torch.rand_like(parameter))


def _peft_merged(model: Module, prefix: str) -> Weights:
    merged: Weights = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            module.merge()
            place = name.removeprefix(prefix)
            merged[f"unet.{place}", "weight"] = module.get_base_layer().weight.detach().clone()
            module.unmerge()
    return merged


def _place(layer: Layer, which: str = "weight") -> Place:
    return f"{layer.part}.{layer.name}", which
