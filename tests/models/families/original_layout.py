"""A small random model written as one file in the layout of the original training code."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def write_single_file(pipeline: Any, file: Path) -> None:
    """Write a pipeline's weights, with the further entries that published files carry."""
    weights = {
        **_prefixed("model.diffusion_model.", _unet(pipeline.unet)),
        **_prefixed("first_stage_model.", _vae(pipeline.vae)),
        "model_ema.decay": torch.tensor(0.9999),
        "alphas_cumprod": pipeline.scheduler.alphas_cumprod,
    }
    if getattr(pipeline, "text_encoder_2", None) is None:
        weights |= _prefixed("cond_stage_model.transformer.text_model.", _clip(pipeline.text_encoder))
    else:
        weights |= _prefixed("conditioner.embedders.0.transformer.text_model.", _clip(pipeline.text_encoder))
        weights |= _prefixed("conditioner.embedders.1.model.", _open_clip(pipeline.text_encoder_2))
    save_file({name: weight.clone().contiguous() for name, weight in weights.items()}, file)


def write_controlnet_file(controlnet: Any, file: Path, prefix: str = "control_model.") -> None:
    """Write a ControlNet's weights."""
    layers = controlnet.config.layers_per_block
    names = {name: _controlnet_name(name, layers, controlnet) for name in controlnet.state_dict()}
    weights = {names[name]: weight.clone().contiguous() for name, weight in controlnet.state_dict().items()}
    save_file(_prefixed(prefix, weights), file)


def _controlnet_name(name: str, layers: int, controlnet: Any) -> str:
    part, _, leaf = name.rpartition(".")
    if found := re.fullmatch(r"controlnet_down_blocks\.(\d+)", part):
        return f"zero_convs.{found[1]}.0.{leaf}"
    if found := re.fullmatch(r"controlnet_cond_embedding\.(?:blocks\.(\d)|conv_(in|out))", part):
        place = {"in": 0, "out": 14}[found[2]] if found[2] else 2 * (int(found[1]) + 1)
        return f"input_hint_block.{place}.{leaf}"
    return f"middle_block_out.0.{leaf}" if part == "controlnet_mid_block" else _unet_name(name, layers, controlnet)


def _prefixed(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: weight for name, weight in weights.items()}


def _unet(unet: Any) -> dict[str, torch.Tensor]:
    layers = unet.config.layers_per_block
    return {_unet_name(name, layers, unet): weight for name, weight in unet.state_dict().items()}


def _unet_name(name: str, layers: int, unet: Any) -> str:
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(ours + "."):
            return theirs + name.removeprefix(ours)
    if middle := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        place = 1 if middle[1] == "attentions" else 2 * int(middle[2])
        return f"middle_block.{place}.{_inner(middle[1], middle[3])}"
    side, block, kind, layer, rest = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name).groups()
    if kind == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        place = 2 if hasattr(unet.up_blocks[int(block)], "attentions") else 1
        return f"output_blocks.{int(block) * (layers + 1) + layers}.{place}.{rest}"
    place = int(block) * (layers + 1) + int(layer) + (side == "down")
    outer = "input_blocks" if side == "down" else "output_blocks"
    return f"{outer}.{place}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    part, _, leaf = rest.rpartition(".")
    return f"{_RESNET[part]}.{leaf}"


def _vae(vae: Any) -> dict[str, torch.Tensor]:
    last = len(vae.config.block_out_channels) - 1
    weights = {}
    for name, weight in vae.state_dict().items():
        name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda found: f"up.{last - int(found[1])}.block.", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda found: f"up.{last - int(found[1])}.upsample.", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if found := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)", name):
            name = f"{found[1]}mid.attn_1.{_VAE_ATTENTION[found[2]]}.{found[3]}"
            weight = weight[..., None, None] if weight.ndim == 2 else weight
        weights[name] = weight
    return weights


def _clip(encoder: Any) -> dict[str, torch.Tensor]:
    weights = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
    return {**weights, "embeddings.position_ids": torch.arange(77)[None]}


def _open_clip(encoder: Any) -> dict[str, torch.Tensor]:
    state = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
    weights = {
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": state.pop("embeddings.token_embedding.weight"),
        "ln_final.weight": state.pop("final_layer_norm.weight"),
        "ln_final.bias": state.pop("final_layer_norm.bias"),
        "text_projection": state.pop("text_projection.weight").T,
        "logit_scale": torch.tensor(4.6),
    }
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, weight in state.items():
        layer, part, leaf = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name).groups()
        outer = f"transformer.resblocks.{layer}."
        if part in _OPEN_CLIP:
            weights[f"{outer}{_OPEN_CLIP[part]}.{leaf}"] = weight
        else:
            joined.setdefault(f"{outer}attn.in_proj_{leaf}", {})[part] = weight
    for name, parts in joined.items():
        weights[name] = torch.cat([parts[f"self_attn.{letter}_proj"] for letter in "qkv"])
    return weights
