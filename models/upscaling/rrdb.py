"""The RRDB network of ESRGAN (arXiv:1809.00219) and Real-ESRGAN (arXiv:2107.10833), in all their published layouts."""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.network import UpscalingNetwork

NEGATIVE_SLOPE = 0.2
RESIDUAL_SCALE = 0.2
CONVOLUTIONS_PER_DENSE_BLOCK = 5
DENSE_BLOCKS_PER_BLOCK = 3
_OPEN_LAYOUT = (
    ("RRDB_trunk.", "body."),
    (".RDB", ".rdb"),
    ("trunk_conv", "conv_body"),
    ("upconv", "conv_up"),
    ("HRconv", "conv_hr"),
)
_SEQUENTIAL_BODY = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)")
_SEQUENTIAL_BODY_END = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_SEQUENTIAL = re.compile(r"model\.(\d+)\.(weight|bias)")


class DenseBlock(nn.Module):
    """Five convolutions, each fed with every earlier output, added back at a fifth of their strength."""

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        for index in range(CONVOLUTIONS_PER_DENSE_BLOCK):
            last = index == CONVOLUTIONS_PER_DENSE_BLOCK - 1
            convolution = nn.Conv2d(num_features + index * growth, num_features if last else growth, 3, padding=1)
            # Small initial residuals, so that a deep stack starts near the identity and trains (ESRGAN, section 3.1).
            nn.init.kaiming_normal_(convolution.weight)
            convolution.weight.data.mul_(0.1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            self.add_module(f"conv{index + 1}", convolution)

    def forward(self, features: Tensor) -> Tensor:
        *growing, last = self.children()
        collected = features
        for convolution in growing:
            collected = torch.cat((collected, _activated(convolution(collected))), dim=1)
        result: Tensor = features + last(collected) * RESIDUAL_SCALE
        return result


class ResidualInResidualBlock(nn.Module):
    """Three dense blocks inside one more scaled residual."""

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(num_features, growth)
        self.rdb2 = DenseBlock(num_features, growth)
        self.rdb3 = DenseBlock(num_features, growth)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features + self.rdb3(self.rdb2(self.rdb1(features))) * RESIDUAL_SCALE
        return result


class RRDBNet(UpscalingNetwork):
    """The RRDB generator of ESRGAN, its parameters named as in the Real-ESRGAN weights.

    Args:
        scale: output side over input side: 1, 2, 4 or 8.
        unshuffle: the input is first folded by this factor into channels (2 in Real-ESRGAN's x2 weights), so that
            the body works at a lower resolution; sides must then be multiples of it.
    """

    def __init__(
        self,
        num_in_channels: int = 3,
        num_out_channels: int = 3,
        num_features: int = 24,
        num_blocks: int = 2,
        growth: int = 12,
        scale: int = 4,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        self.scale, self.unshuffle = scale, unshuffle
        self.receptive_radius = num_blocks * DENSE_BLOCKS_PER_BLOCK * CONVOLUTIONS_PER_DENSE_BLOCK + 4
        self.values_per_px = num_features * scale**2
        num_doublings = (scale * unshuffle).bit_length() - 1
        self.conv_first = nn.Conv2d(num_in_channels * unshuffle**2, num_features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidualBlock(num_features, growth) for _ in range(num_blocks)))
        self.conv_body = nn.Conv2d(num_features, num_features, 3, padding=1)
        self.doublings = [f"conv_up{number}" for number in range(1, num_doublings + 1)]
        for name in self.doublings:
            self.add_module(name, nn.Conv2d(num_features, num_features, 3, padding=1))
        self.conv_hr = nn.Conv2d(num_features, num_features, 3, padding=1)
        self.conv_last = nn.Conv2d(num_features, num_out_channels, 3, padding=1)

    def understand(self, image: Tensor) -> Tensor:
        """Compute the features (N, num_features, H/unshuffle, W/unshuffle) of an image (N, C, H, W)."""
        features = self.conv_first(functional.pixel_unshuffle(image, self.unshuffle) if self.unshuffle > 1 else image)
        result: Tensor = features + self.conv_body(self.body(features))
        return result

    def enlarge(self, features: Tensor) -> Tensor:
        """Paint the enlarged image from its features; each pixel sees two features around its own."""
        for name in self.doublings:
            enlarged = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = _activated(self.get_submodule(name)(enlarged))
        result: Tensor = self.conv_last(_activated(self.conv_hr(features)))
        return result


def _activated(fresh: Tensor) -> Tensor:
    """Apply the activation in place, to a convolution's output that nothing else holds."""
    return functional.leaky_relu(fresh, NEGATIVE_SLOPE, inplace=True)


def rrdb_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the two older layouts of the same network: `RRDB_trunk.…` and the sequential `model.…`."""
    if "model.0.weight" not in weights:
        return {_open_layout_name(name): tensor for name, tensor in weights.items()}
    ends = sorted({int(match[1]) for name in weights if (match := _SEQUENTIAL.fullmatch(name)) and match[1] != "0"})
    doublings = {end: f"conv_up{number}" for number, end in enumerate(ends[:-2], 1)}
    places = {0: "conv_first"} | doublings | dict(zip(ends[-2:], ("conv_hr", "conv_last"), strict=False))
    return {_sequential_layout_name(name, places): tensor for name, tensor in weights.items()}


def _open_layout_name(name: str) -> str:
    for old, new in _OPEN_LAYOUT:
        name = name.replace(old, new)
    return name


def _sequential_layout_name(name: str, places: Mapping[int, str]) -> str:
    if match := _SEQUENTIAL_BODY.fullmatch(name):
        return "body.{}.rdb{}.conv{}.{}".format(*match.groups())
    if match := _SEQUENTIAL_BODY_END.fullmatch(name):
        return f"conv_body.{match[1]}"
    match = _SEQUENTIAL.fullmatch(name)
    return f"{places[int(match[1])]}.{match[2]}" if match else name


def rrdb_network(published: Mapping[str, Tensor]) -> RRDBNet:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    weights = rrdb_weights(published)
    num_features, num_folded = weights["conv_first.weight"].shape[:2]
    num_doublings = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in weights)
    unshuffle = math.isqrt(num_folded // 3)
    if num_folded != 3 * unshuffle**2 or 2**num_doublings % unshuffle or weights["conv_last.weight"].shape[0] != 3:
        raise ValueError(
            f"{num_folded} input and {weights['conv_last.weight'].shape[0]} output channels: RGB is needed"
        )
    return RRDBNet(
        num_features=num_features,
        num_blocks=len({name.split(".")[1] for name in weights if name.startswith("body.")}),
        growth=weights["body.0.rdb1.conv1.weight"].shape[0],
        scale=2**num_doublings // unshuffle,
        unshuffle=unshuffle,
    )
