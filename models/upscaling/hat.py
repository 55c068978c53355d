"""HAT: SwinIR's attention beside that of channels, and windows that see beyond their edges (arXiv:2205.04437)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.transformer import Group, UpscalingTransformer, read_shape
from models.upscaling.windows import Mlp, SwinBlock, attend, unwindowed, windows

_FIRST = "layers.0.residual_group"
_BESIDE = 0.01
"""How much the attention of channels counts beside that of places, as published."""


class ChannelAttention(nn.Module):
    """Weighs channels by what the whole picture has of them."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        layers = (nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), *layers)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, channels, H, W), same shape."""
        weighed: Tensor = features * self.attention(features)
        return weighed


class HybridBlock(SwinBlock):
    """A block of SwinIR with convolutions and an attention of channels beside its attention of places."""

    def __init__(
        self, channels: int, window: int, heads: int, hidden: int, shift: int, compressed: int, squeezed: int
    ) -> None:
        super().__init__(channels, window, heads, hidden, shift)
        convolutions = (nn.Conv2d(channels, compressed, 3, padding=1), nn.Conv2d(compressed, channels, 3, padding=1))
        layers = (convolutions[0], nn.GELU(), convolutions[1], ChannelAttention(channels, squeezed))
        self.conv_block = nn.ModuleDict({"cab": nn.Sequential(*layers)})

    def found(self, normed: Tensor) -> Tensor:
        """See `SwinBlock`."""
        beside = self.conv_block["cab"](normed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        both: Tensor = super().found(normed) + _BESIDE * beside
        return both


class OverlappingAttention(nn.Module):
    """Attention of the places of a window to those of a larger one around it, and an MLP."""

    def __init__(self, channels: int, window: int, seen: int, heads: int, hidden: int) -> None:
        super().__init__()
        self._window, self._seen, self._heads = window, seen, heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((window + seen - 1) ** 2, heads))
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, hidden)
        self.register_buffer("offsets", _offsets(window, seen), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape; H and W are multiples of the window."""
        window = (self._window, self._window)
        query, key, value = self.qkv(self.norm1(features)).chunk(3, dim=3)
        bias = self.relative_position_bias_table[self.get_buffer("offsets")].permute(2, 0, 1)[None]
        parts = (windows(query, window), self._around(key), self._around(value))
        found = attend(parts, self._heads, bias)
        features = features + self.proj(unwindowed(found, features.shape, window))
        result: Tensor = features + self.mlp(self.norm2(features))
        return result

    def _around(self, features: Tensor) -> Tensor:
        """What is seen from each window, (count, places, channels); beyond the picture are zeros."""
        edge = (self._seen - self._window) // 2
        padded = functional.pad(features, (0, 0, edge, edge, edge, edge))
        parts = padded.unfold(1, self._seen, self._window).unfold(2, self._seen, self._window)
        return parts.permute(0, 1, 2, 4, 5, 3).reshape(-1, self._seen**2, features.shape[3])


def _offsets(window: int, seen: int) -> Tensor:
    """The offset of each place that is seen from each of a window, (places, places seen).

    Published weights have them from the first place on, so that those before it are counted from the table's end.
    """
    near, far = (torch.stack(torch.meshgrid(2 * [torch.arange(side)], indexing="ij")) for side in (window, seen))
    rows, columns = far.flatten(1)[:, None] - near.flatten(1)[:, :, None] + window - seen + 1
    each = window + seen - 1
    numbers: Tensor = (rows * each + columns) % each**2
    return numbers


def hat_network(weights: Mapping[str, Tensor]) -> UpscalingTransformer:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    shape = read_shape(weights, "layers.{}.residual_group.blocks.")
    places, heads = weights[f"{_FIRST}.blocks.0.attn.relative_position_bias_table"].shape
    hidden, window = weights[f"{_FIRST}.blocks.0.mlp.fc1.bias"].shape[0], (math.isqrt(places) + 1) // 2
    seen = math.isqrt(weights[f"{_FIRST}.overlap_attn.relative_position_bias_table"].shape[0]) + 1 - window
    beside = f"{_FIRST}.blocks.0.conv_block.cab"
    inner = [weights[f"{beside}.{name}.bias"].shape[0] for name in ("0", "3.attention.1")]
    known = (shape.channels, window, heads, hidden)
    groups = [
        Group(
            shape,
            [HybridBlock(*known, window // 2 * (n % 2), *inner) for n in range(depth)],
            {"overlap_attn": OverlappingAttention(shape.channels, window, seen, heads, hidden)},
        )
        for depth in shape.depths
    ]
    return UpscalingTransformer(shape, groups, window, max(seen**2 * heads, hidden))
