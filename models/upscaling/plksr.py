"""PLKSR and RealPLKSR: a large kernel over some of the channels (arXiv:2404.11848)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.compact import shuffled_scale
from models.upscaling.network import UpscalingNetwork


class ChannelNorm(nn.Module):
    """Each place's channels at mean 0 and spread 1, then scaled and moved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W), same shape."""
        last = features.permute(0, 2, 3, 1)
        return functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class LargeKernelBlock(nn.Module):
    """Mixes channels, then looks far in some of them; `weights` are those of one block, by name."""

    def __init__(self, weights: Mapping[str, Tensor], *, is_real: bool) -> None:
        super().__init__()
        first, second, large = (weights[f"{name}.weight"] for name in ("mixer.0", "mixer.2", "lk.conv"))
        activation = nn.Mish() if is_real else nn.GELU()
        self.layer_norm = ChannelNorm(first.shape[1]) if "layer_norm.weight" in weights else nn.Identity()
        self.mixer = nn.Sequential(_convolution(first), activation, _convolution(second))
        self.lk = nn.ModuleDict({"conv": _convolution(large)})
        self.attn = nn.ModuleDict()
        if "attn.f.0.weight" in weights:
            self.attn["f"] = nn.Sequential(_convolution(weights["attn.f.0.weight"]), nn.Sigmoid())
        self.refine = _convolution(weights["refine.weight"])

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W), same shape."""
        mixed = self.mixer(self.layer_norm(features))
        far = self.lk["conv"].in_channels
        mixed = torch.cat([self.lk["conv"](mixed[:, :far]), mixed[:, far:]], dim=1)
        if "f" in self.attn:
            mixed = mixed * self.attn["f"](mixed)
        result: Tensor = features + self.refine(mixed)
        return result


class PlkNet(UpscalingNetwork):
    """Shapes are those of `weights`, which are named as `plksr_weights` names them."""

    most_overlap: ClassVar[int] = 64

    def __init__(self, weights: Mapping[str, Tensor], *, is_real: bool) -> None:
        super().__init__()
        count = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        self.scale = shuffled_scale(weights["last.weight"])
        self.first = _convolution(weights["first.weight"])
        self.blocks = nn.ModuleList(
            LargeKernelBlock(
                {
                    name.removeprefix(f"blocks.{place}."): one
                    for name, one in weights.items()
                    if name.startswith(f"blocks.{place}.")
                },
                is_real=is_real,
            )
            for place in range(count)
        )
        self.last = _convolution(weights["last.weight"])
        kernels = (one.kernel_size for one in self.modules() if isinstance(one, nn.Conv2d))
        self.receptive_radius = sum(max(sides) // 2 for sides in kernels)
        self.values_per_px = max(2 * self.first.out_channels, self.last.out_channels)

    def understand(self, image: Tensor) -> Tensor:
        """The picture's pixels, folded: the small picture's own, and what is added to them."""
        features = self.first(image)
        for block in self.blocks:
            features = block(features)
        result: Tensor = self.last(features) + image.repeat_interleave(self.scale**2, dim=1)
        return result


def _convolution(weight: Tensor) -> nn.Conv2d:
    channels, given, height, width = weight.shape
    return nn.Conv2d(given, channels, (height, width), padding=(height // 2, width // 2))


def plksr_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of `PlkNet`."""
    last = max(int(name.split(".")[1]) for name in weights)
    return {_name(name, last): tensor for name, tensor in weights.items()}


def _name(name: str, last: int) -> str:
    _, place, inner = name.split(".", 2)
    if place in ("0", str(last)):
        return f"{'last' if int(place) else 'first'}.{inner}"
    inner = inner.replace("channe_mixer.", "mixer.").replace("channel_mixer.", "mixer.")
    return f"blocks.{int(place) - 1}.{inner}"


def plksr_network(weights: Mapping[str, Tensor]) -> PlkNet:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    return PlkNet(plksr_weights(weights), is_real=any(".channel_mixer." in name for name in weights))
