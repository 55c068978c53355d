"""DAT: attention of places and of channels in turn, each beside a convolution (arXiv:2308.03364)."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.transformer import Group, Shape, UpscalingTransformer, learned, read_shape
from models.upscaling.windows import Sides, attend, offsets, shift_mask, unwindowed, windows


class PositionBias(nn.Module):
    """The bias of each offset of two places in a window, computed from it."""

    def __init__(self, inner: int, heads: int) -> None:
        super().__init__()
        self.pos_proj = nn.Linear(2, inner)
        for number, outputs in ((1, inner), (2, inner), (3, heads)):
            layers = nn.Sequential(nn.LayerNorm(inner), nn.ReLU(), nn.Linear(inner, outputs))
            self.add_module(f"pos{number}", layers)

    def forward(self, window: Sides) -> Tensor:
        """((2h-1)(2w-1), heads)."""
        steps = [torch.arange(1 - side, side, device=self.pos_proj.weight.device) for side in window]
        given = torch.stack(torch.meshgrid(*steps, indexing="ij")).flatten(1).T.to(self.pos_proj.weight.dtype)
        bias: Tensor = self.pos_proj(given)
        for number in (1, 2, 3):
            bias = self.get_submodule(f"pos{number}")(bias)
        return bias


class RectangleAttention(nn.Module):
    """Attention in rectangular windows, shifted or not."""

    def __init__(self, window: Sides, heads: int, inner: int, *, is_shifted: bool) -> None:
        super().__init__()
        self._window, self._heads = window, heads
        self._shift = (window[0] // 2, window[1] // 2) if is_shifted else (0, 0)
        self.pos = PositionBias(inner, heads)
        self.register_buffer("offsets", offsets(window), persistent=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Each (N, H, W, channels), same shape."""
        bias = self.pos(self._window)[self.get_buffer("offsets")].permute(2, 0, 1)[None]
        if any(self._shift):
            bias = bias + shift_mask(query, self._window, self._shift)
        shifted = (torch.roll(one, [-far for far in self._shift], (1, 2)) for one in (query, key, value))
        found = attend((windows(one, self._window) for one in shifted), self._heads, bias)
        return torch.roll(unwindowed(found, query.shape, self._window), self._shift, (1, 2))


class AdaptiveAttention(nn.Module):
    """Attention and a convolution of its values, each of which weighs the other."""

    def __init__(self, channels: int, squeezed: Sides, *, has_bias: bool) -> None:
        super().__init__()
        by_channel, by_place = squeezed
        self.qkv = nn.Linear(channels, 3 * channels, bias=has_bias)
        self.proj = nn.Linear(channels, channels)
        alone = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.dwconv = nn.Sequential(alone, nn.BatchNorm2d(channels), nn.GELU())
        self.channel_interaction = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, by_channel, 1),
            nn.BatchNorm2d(by_channel),
            nn.GELU(),
            nn.Conv2d(by_channel, channels, 1),
        )
        self.spatial_interaction = nn.Sequential(
            nn.Conv2d(channels, by_place, 1), nn.BatchNorm2d(by_place), nn.GELU(), nn.Conv2d(by_place, 1, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape."""
        query, key, value = self.qkv(features).chunk(3, dim=3)
        attended = self.attend(query, key, value).permute(0, 3, 1, 2)
        convolved = self.dwconv(value.permute(0, 3, 1, 2))
        result: Tensor = self.proj(self.joined(attended, convolved).permute(0, 2, 3, 1))
        return result

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Each (N, H, W, channels), same shape."""

    @abstractmethod
    def joined(self, attended: Tensor, convolved: Tensor) -> Tensor:
        """Both (N, channels, H, W), same shape."""


class SpatialAttention(AdaptiveAttention):
    """Attention of places: half of the channels in windows of one shape, half in those turned by 90 degrees."""

    def __init__(
        self, channels: int, squeezed: Sides, window: Sides, heads: int, *, has_bias: bool, is_shifted: bool
    ) -> None:
        super().__init__(channels, squeezed, has_bias=has_bias)
        branches = (window, (window[1], window[0]))
        inner = channels // 2 // 4 // 4
        self.attns = nn.ModuleList(
            RectangleAttention(one, heads // 2, inner, is_shifted=is_shifted) for one in branches
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `AdaptiveAttention`."""
        halves = zip(*(one.chunk(2, dim=3) for one in (query, key, value)), strict=True)
        return torch.cat([attn(*half) for attn, half in zip(self.attns, halves, strict=True)], dim=3)

    def joined(self, attended: Tensor, convolved: Tensor) -> Tensor:
        """See `AdaptiveAttention`."""
        by_channel, by_place = self.channel_interaction(convolved), self.spatial_interaction(attended)
        both: Tensor = attended * by_channel.sigmoid() + convolved * by_place.sigmoid()
        return both


class CrossChannelAttention(AdaptiveAttention):
    """Attention of channels, over the whole picture."""

    def __init__(self, channels: int, squeezed: Sides, heads: int, *, has_bias: bool) -> None:
        super().__init__(channels, squeezed, has_bias=has_bias)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `AdaptiveAttention`."""
        heads = self.temperature.shape[0]
        rows, columns, values = (one.flatten(1, 2).mT.unflatten(1, (heads, -1)) for one in (query, key, value))
        alike = functional.normalize(rows, dim=-1) @ functional.normalize(columns, dim=-1).mT
        found: Tensor = (alike * self.temperature).softmax(-1) @ values
        together: Tensor = found.flatten(1, 2).mT.unflatten(1, query.shape[1:3])
        return together

    def joined(self, attended: Tensor, convolved: Tensor) -> Tensor:
        """See `AdaptiveAttention`."""
        by_channel, by_place = self.channel_interaction(attended), self.spatial_interaction(convolved)
        both: Tensor = attended * by_place.sigmoid() + convolved * by_channel.sigmoid()
        return both


class GatedMlp(nn.Module):
    """Two linear layers; half of the inner channels, convolved, gates the other half."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        half = hidden // 2
        self.fc1 = nn.Linear(channels, hidden)
        alone = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.sg = nn.ModuleDict({"norm": nn.LayerNorm(half), "conv": alone})
        self.fc2 = nn.Linear(half, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape."""
        kept, gate = functional.gelu(self.fc1(features)).chunk(2, dim=3)
        gate = self.sg["conv"](self.sg["norm"](gate).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        result: Tensor = self.fc2(kept * gate)
        return result


class AggregationBlock(nn.Module):
    """Attention and a gated MLP."""

    def __init__(self, channels: int, attention: nn.Module, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(channels), attention
        self.norm2, self.ffn = nn.LayerNorm(channels), GatedMlp(channels, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape."""
        features = features + self.attn(self.norm1(features))
        result: Tensor = features + self.ffn(self.norm2(features))
        return result


_FIRST = "layers.0.blocks.0"


def dat_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of `UpscalingTransformer`, without what follows from the architecture."""
    return {_own_name(name): one for name, one in learned(weights).items()}


def _own_name(name: str) -> str:
    layer, number, *rest = name.split(".", 2)
    if layer == "layers" and rest and rest[0].startswith("blocks."):
        return f"layers.{number}.residual_group.{rest[0]}"
    return name.replace("before_RG.1.", "patch_embed.norm.")


def dat_network(weights: Mapping[str, Tensor]) -> UpscalingTransformer:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    shape = read_shape(weights, "layers.{}.blocks.")
    hidden = weights[f"{_FIRST}.ffn.fc1.bias"].shape[0]
    height, width = (int(side) + 1 for side in weights[f"{_FIRST}.attn.attns.0.rpe_biases"][-1])
    groups = [
        Group(shape, _blocks(weights, shape, number, (height, width), hidden)) for number in range(len(shape.depths))
    ]
    window = max(height, width)
    if window % min(height, width):
        raise ValueError(f"windows of {height}×{width}: one side must be a multiple of the other")
    heads = weights[f"{_FIRST}.attn.attns.0.pos.pos3.2.bias"].shape[0]
    return UpscalingTransformer(shape, groups, window, max(height * width * heads, hidden))


def _blocks(
    weights: Mapping[str, Tensor], shape: Shape, group: int, window: Sides, hidden: int
) -> list[AggregationBlock]:
    has_bias = f"{_FIRST}.attn.qkv.bias" in weights
    interactions = (f"{_FIRST}.attn.channel_interaction.1.bias", f"{_FIRST}.attn.spatial_interaction.0.bias")
    by_channel, by_place = (weights[name].shape[0] for name in interactions)
    heads = 2 * weights[f"layers.{group}.blocks.0.attn.attns.0.pos.pos3.2.bias"].shape[0]
    blocks = []
    for block in range(shape.depths[group]):
        known = (shape.channels, (by_channel, by_place))
        if block % 2:
            attention: nn.Module = CrossChannelAttention(*known, heads, has_bias=has_bias)
        else:
            is_shifted = block % 4 == (0 if group % 2 else 2)
            attention = SpatialAttention(*known, window, heads, has_bias=has_bias, is_shifted=is_shifted)
        blocks.append(AggregationBlock(shape.channels, attention, hidden))
    return blocks
