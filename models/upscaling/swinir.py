"""SwinIR: attention in windows that shift from block to block (arXiv:2108.10257)."""

import math
from collections.abc import Mapping

from torch import Tensor

from models.upscaling.transformer import Group, UpscalingTransformer, read_shape
from models.upscaling.windows import SwinBlock

_FIRST = "layers.0.residual_group.blocks.0"


def swinir_network(weights: Mapping[str, Tensor]) -> UpscalingTransformer:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    shape = read_shape(weights, "layers.{}.residual_group.blocks.")
    places, heads = weights[f"{_FIRST}.attn.relative_position_bias_table"].shape
    hidden, window = weights[f"{_FIRST}.mlp.fc1.bias"].shape[0], (math.isqrt(places) + 1) // 2
    shift = window // 2 if any(name.endswith("attn_mask") for name in weights) else 0
    groups = [
        Group(shape, [SwinBlock(shape.channels, window, heads, hidden, shift * (n % 2)) for n in range(depth)])
        for depth in shape.depths
    ]
    return UpscalingTransformer(shape, groups, window, max(window**2 * heads, hidden))
