"""The names that the layers of a UNet, and of Flux.1, have in the original training code, by diffusers' names."""

from collections.abc import Iterator, Mapping
from typing import Any

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_names(unet: Any) -> dict[str, str]:
    """The original name by diffusers' one, for each layer of a UNet of Stable Diffusion 1.x, 2.x or XL."""
    blocks = {**_ENDS, **dict(_blocks(unet))}
    return {name: found for name, _ in unet.named_modules() if (found := _original(name, blocks))}


def _original(name: str, blocks: dict[str, str]) -> str | None:
    head = name
    while head not in blocks:
        head, dot, _ = head.rpartition(".")
        if not dot:
            return None
    rest = name[len(head) :].removeprefix(".")
    if not rest:
        return blocks[head]
    rest = _RESNET.get(rest, rest) if ".resnets." in head else rest
    return f"{blocks[head]}.{rest}"


def _blocks(unet: Any) -> Iterator[tuple[str, str]]:
    place = 1
    for number, block in enumerate(unet.down_blocks):
        for layer, has_attention in _layers(block):
            yield from _pair(f"down_blocks.{number}", layer, f"input_blocks.{place}", has_attention)
            place += 1
        if getattr(block, "downsamplers", None):
            yield f"down_blocks.{number}.downsamplers.0.conv", f"input_blocks.{place}.0.op"
            place += 1
    if getattr(unet, "mid_block", None) is not None:
        yield from (
            ("mid_block.resnets.0", "middle_block.0"),
            ("mid_block.attentions.0", "middle_block.1"),
            ("mid_block.resnets.1", "middle_block.2"),
        )
    place = 0
    for number, block in enumerate(unet.up_blocks):
        for layer, has_attention in _layers(block):
            yield from _pair(f"up_blocks.{number}", layer, f"output_blocks.{place}", has_attention)
            place += 1
        if getattr(block, "upsamplers", None):
            yield f"up_blocks.{number}.upsamplers.0.conv", f"output_blocks.{place - 1}.{1 + has_attention}.conv"


def _layers(block: Any) -> Iterator[tuple[int, bool]]:
    has_attention = bool(getattr(block, "attentions", None))
    return ((layer, has_attention) for layer in range(len(block.resnets)))


def _pair(block: str, layer: int, original: str, has_attention: bool) -> Iterator[tuple[str, str]]:
    yield f"{block}.resnets.{layer}", f"{original}.0"
    if has_attention:
        yield f"{block}.attentions.{layer}", f"{original}.1"


_DOUBLE: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE: Mapping[str, tuple[str, ...]] = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
_OTHERS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}


def flux_names(transformer: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The original name of each layer, and diffusers' layers that make it up, joined along their outputs."""
    blocks = (("double_blocks", "transformer_blocks", _DOUBLE), ("single_blocks", "single_transformer_blocks", _SINGLE))
    for original, ours, layers in blocks:
        for number in range(len(getattr(transformer, ours))):
            for name, parts in layers.items():
                yield f"{original}.{number}.{name}", tuple(f"{ours}.{number}.{part}" for part in parts)
    yield from ((name, (part,)) for name, part in _OTHERS.items())
