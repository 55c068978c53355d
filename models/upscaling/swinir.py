"""SwinIR: attention in windows that shift from block to block (arXiv:2108.10257)."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.compact import shuffled_scale
from models.upscaling.network import UpscalingNetwork

Tail = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv"]
_MEAN = (0.4488, 0.4371, 0.4040)
_INNER = 64
"""Channels while features become a larger picture."""
_OTHER_PLACE = -100.0
"""Added where shifting brings places together that are not neighbours, as the network was trained with."""


class WindowAttention(nn.Module):
    """Attention among the places of a window, with a learned bias for each offset of two places."""

    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        rows, columns = places[:, :, None] - places[:, None] + window - 1
        self.register_buffer("offsets", rows * (2 * window - 1) + columns, persistent=False)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend in windows (count, places, channels); `mask` (count, 1, places, places) is added."""
        count, places, channels = windows.shape
        parts = self.qkv(windows).view(count, places, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        offsets = self.get_buffer("offsets")
        bias = self.relative_position_bias_table[offsets].permute(2, 0, 1)[None]
        query, key, value = parts.unbind()
        bias = bias if mask is None else bias + mask
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        result: Tensor = self.proj(found.transpose(1, 2).reshape(count, places, channels))
        return result


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape."""
        result: Tensor = self.fc2(functional.gelu(self.fc1(features)))
        return result


class SwinBlock(nn.Module):
    """Attention in windows, shifted by half of one in every second block, and an MLP."""

    def __init__(self, channels: int, window: int, heads: int, hidden: int, shift: int) -> None:
        super().__init__()
        self._window, self._shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape; H and W are multiples of the window."""
        shifted = torch.roll(self.norm1(features), (-self._shift, -self._shift), (1, 2))
        attended = self.attn(_windows(shifted, self._window), self._mask(features))
        attended = _unwindowed(attended, features.shape, self._window)
        features = features + torch.roll(attended, (self._shift, self._shift), (1, 2))
        result: Tensor = features + self.mlp(self.norm2(features))
        return result

    def _mask(self, features: Tensor) -> Tensor | None:
        """What keeps places apart that only the shift around the picture's edge brings together."""
        if not self._shift:
            return None
        count, height, width, _ = features.shape
        sides = []
        for length in (height, width):
            places = torch.arange(length, device=features.device)
            sides.append((places >= length - self._window).int() + (places >= length - self._shift).int())
        regions = (sides[0][:, None] * 3 + sides[1]).float()[None, :, :, None]
        regions = _windows(regions, self._window)[:, :, 0]
        mask = torch.where(regions[:, :, None] == regions[:, None], 0.0, _OTHER_PLACE)
        return mask.repeat(count, 1, 1)[:, None].to(features.dtype)


def _windows(features: Tensor, window: int) -> Tensor:
    count, height, width, channels = features.shape
    parts = features.view(count, height // window, window, width // window, window, channels)
    return parts.transpose(2, 3).reshape(-1, window**2, channels)


def _unwindowed(windows: Tensor, shape: Sequence[int], window: int) -> Tensor:
    count, height, width, channels = shape
    parts = windows.view(count, height // window, width // window, window, window, channels)
    return parts.transpose(2, 3).reshape(count, height, width, channels)


class SwinGroup(nn.Module):
    """Blocks and a convolution, around which the features go as well."""

    def __init__(self, blocks: Sequence[SwinBlock], convolution: nn.Module) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})
        self.conv = convolution

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape."""
        changed = features
        for block in self.residual_group["blocks"]:  # type: ignore[attr-defined]
            changed = block(changed)
        result: Tensor = features + self.conv(changed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return result


class SwinIR(UpscalingNetwork):
    """Parameters are named as in the published weights.

    Args:
        depths: blocks of each group; every second one is shifted.
        tail: how features become a larger picture.
        bottleneck: a group ends with three convolutions instead of one.
    """

    most_overlap: ClassVar[int] = 4
    runs_in_half: ClassVar[bool] = False

    def __init__(
        self,
        channels: int = 180,
        depths: Sequence[int] = (6,) * 6,
        heads: int = 6,
        window: int = 8,
        hidden: int = 360,
        scale: int = 4,
        tail: Tail = "nearest+conv",
        *,
        bottleneck: bool = False,
        shifts: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.unshuffle, self._tail, self._blocks = scale, window, tail, sum(depths)
        self._widest = max(window**2 * heads, hidden, 3 * channels, _INNER * scale**2)
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(channels)})
        self.layers = nn.ModuleList(
            SwinGroup(
                [
                    SwinBlock(channels, window, heads, hidden, window // 2 * (place % 2) * shifts)
                    for place in range(depth)
                ],
                _convolution(channels, bottleneck=bottleneck),
            )
            for depth in depths
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = _convolution(channels, bottleneck=bottleneck)
        self._add_tail(channels)

    def _add_tail(self, channels: int, inner: int = _INNER) -> None:
        if self._tail == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale)
            )
            return
        self.conv_before_upsample = nn.Sequential(nn.Conv2d(channels, inner, 3, padding=1), nn.LeakyReLU(0.01))
        steps = [3] if self.scale == 3 else [2] * (self.scale.bit_length() - 1)
        if self._tail == "pixelshuffle":
            layers = ((nn.Conv2d(inner, inner * step**2, 3, padding=1), nn.PixelShuffle(step)) for step in steps)
            self.upsample = nn.Sequential(*(layer for pair in layers for layer in pair))
        else:
            for number in range(1, len(steps) + 1):
                self.add_module(f"conv_up{number}", nn.Conv2d(inner, inner, 3, padding=1))
            self.conv_hr = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv_last = nn.Conv2d(inner, 3, 3, padding=1)

    def understand(self, image: Tensor) -> Tensor:
        """Features of each pixel, a window's folded into channels."""
        first = self.conv_first(image - _mean(image))
        features = self.patch_embed["norm"](first.permute(0, 2, 3, 1))
        for layer in self.layers:
            features = layer(features)
        found = first + self.conv_after_body(self.norm(features).permute(0, 3, 1, 2))
        return functional.pixel_unshuffle(found, self.unshuffle)

    def enlarge(self, features: Tensor) -> Tensor:
        """See `UpscalingNetwork`."""
        unfolded = functional.pixel_shuffle(features, self.unshuffle)
        if self._tail == "pixelshuffledirect":
            painted = self.upsample(unfolded)
        elif self._tail == "pixelshuffle":
            painted = self.conv_last(self.upsample(self.conv_before_upsample(unfolded)))
        else:
            painted = self._doubled(self.conv_before_upsample(unfolded))
        result: Tensor = painted + _mean(painted)
        return result

    def _doubled(self, features: Tensor) -> Tensor:
        for number in range(1, self.scale.bit_length()):
            enlarged = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = functional.leaky_relu(self.get_submodule(f"conv_up{number}")(enlarged), 0.2)
        result: Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(features), 0.2))
        return result

    @property
    def receptive_radius(self) -> int:
        """See `UpscalingNetwork`."""
        return self._blocks

    @property
    def values_per_px(self) -> int:
        """See `UpscalingNetwork`."""
        return self._widest


def _convolution(channels: int, *, bottleneck: bool) -> nn.Module:
    if not bottleneck:
        return nn.Conv2d(channels, channels, 3, padding=1)
    inner = channels // 4
    layers = (
        nn.Conv2d(channels, inner, 3, padding=1),
        nn.Conv2d(inner, inner, 1),
        nn.Conv2d(inner, channels, 3, padding=1),
    )
    return nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])


def _mean(like: Tensor) -> Tensor:
    return like.new_tensor(_MEAN).view(1, 3, 1, 1)


_KNOWN_BEFOREHAND = ("attn.relative_position_index", "attn_mask")


def swinir_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights without what follows from the architecture."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith(_KNOWN_BEFOREHAND)}


def swinir_network(weights: Mapping[str, Tensor]) -> SwinIR:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    first = "layers.0.residual_group.blocks.0"
    channels, pictured = weights["conv_first.weight"].shape[:2]
    if pictured != 3:
        raise ValueError(f"{pictured} input channels: RGB is needed")
    places, heads = weights[f"{first}.attn.relative_position_bias_table"].shape
    tail, scale = _tail(weights)
    groups = sorted({int(name.split(".")[1]) for name in weights if name.startswith("layers.")})
    inner = [f"layers.{group}.residual_group.blocks." for group in groups]
    depths = [len({name.split(".")[4] for name in weights if name.startswith(start)}) for start in inner]
    window = (math.isqrt(places) + 1) // 2
    return SwinIR(
        channels,
        depths,
        heads,
        window,
        weights[f"{first}.mlp.fc1.bias"].shape[0],
        scale,
        tail,
        bottleneck="conv_after_body.0.weight" in weights,
        shifts=any(name.endswith("attn_mask") for name in weights),
    )


def _tail(weights: Mapping[str, Tensor]) -> tuple[Tail, int]:
    if "conv_up1.weight" in weights:
        return "nearest+conv", 2 ** sum(name.startswith("conv_up") and name.endswith(".weight") for name in weights)
    if "conv_before_upsample.0.weight" in weights:
        steps = [weights[name] for name in weights if name.startswith("upsample.") and name.endswith(".weight")]
        return "pixelshuffle", math.prod(math.isqrt(step.shape[0] // step.shape[1]) for step in steps)
    if "upsample.0.weight" in weights:
        return "pixelshuffledirect", shuffled_scale(weights["upsample.0.weight"])
    raise ValueError("it does not enlarge: it is made to clean pictures")
