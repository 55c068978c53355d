"""What upscaling transformers have in common: groups of blocks between a first convolution and an enlarging end."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.compact import shuffled_scale
from models.upscaling.network import UpscalingNetwork

Tail = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv"]
_MEAN = (0.4488, 0.4371, 0.4040)
_KNOWN_BEFOREHAND = re.compile(r"(^|\.)(relative_position_index|attn_mask|rpe_biases)\w*$")


@dataclass(frozen=True)
class Shape:
    """What published weights tell of a network.

    Attributes:
        depths: blocks of each group.
        tail: how features become a larger picture.
        inner: channels meanwhile.
        has_bottleneck: a group ends with three convolutions instead of one.
    """

    channels: int
    depths: tuple[int, ...]
    scale: int
    tail: Tail
    inner: int
    has_bottleneck: bool


class Group(nn.Module):
    """Blocks and a convolution, around which the features go as well.

    Args:
        last: what comes after the blocks, by its name in the weights.
    """

    def __init__(self, shape: Shape, blocks: Sequence[nn.Module], last: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks), **(last or {})})
        self.conv = _convolution(shape)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape."""
        blocks, *last = self.residual_group.values()
        changed = features
        for block in (*blocks, *last):  # type: ignore[misc]  # a ModuleList can be gone through
            changed = block(changed)
        result: Tensor = features + self.conv(changed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return result


class UpscalingTransformer(UpscalingNetwork):
    """Parameters are named as in the published weights of SwinIR.

    Args:
        window: the sides of a picture must be multiples of it.
        widest: values of each pixel in the groups' widest layer.
    """

    most_overlap: ClassVar[int] = 4
    runs_in_half: ClassVar[bool] = False

    def __init__(self, shape: Shape, groups: Sequence[Group], window: int, widest: int) -> None:
        super().__init__()
        self.scale, self.unshuffle, self._shape = shape.scale, window, shape
        self.receptive_radius = sum(shape.depths)
        self.values_per_px = max(widest, 3 * shape.channels, shape.inner * shape.scale**2)
        self.conv_first = nn.Conv2d(3, shape.channels, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(shape.channels)})
        self.layers = nn.ModuleList(groups)
        self.norm = nn.LayerNorm(shape.channels)
        self.conv_after_body = _convolution(shape)
        self._add_tail(shape.channels, shape.inner)

    def _add_tail(self, channels: int, inner: int) -> None:
        if self._shape.tail == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale)
            )
            return
        self.conv_before_upsample = nn.Sequential(nn.Conv2d(channels, inner, 3, padding=1), nn.LeakyReLU(0.01))
        steps = [3] if self.scale == 3 else [2] * (self.scale.bit_length() - 1)
        if self._shape.tail == "pixelshuffle":
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
        if self._shape.tail == "pixelshuffledirect":
            painted = self.upsample(unfolded)
        elif self._shape.tail == "pixelshuffle":
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


def _convolution(shape: Shape) -> nn.Module:
    channels, inner = shape.channels, shape.channels // 4
    if not shape.has_bottleneck:
        return nn.Conv2d(channels, channels, 3, padding=1)
    layers = (
        nn.Conv2d(channels, inner, 3, padding=1),
        nn.Conv2d(inner, inner, 1),
        nn.Conv2d(inner, channels, 3, padding=1),
    )
    return nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])


def _mean(like: Tensor) -> Tensor:
    return like.new_tensor(_MEAN).view(1, 3, 1, 1)


def learned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights without what follows from the architecture."""
    return {name: tensor for name, tensor in weights.items() if not _KNOWN_BEFOREHAND.search(name)}


def read_shape(weights: Mapping[str, Tensor], blocks: str) -> Shape:
    """The shape of a network by its weights; KeyError or ValueError if they are of none.

    Args:
        blocks: the name of a group's blocks, with `{}` for the group's number.
    """
    channels, pictured = weights["conv_first.weight"].shape[:2]
    if pictured != 3:
        raise ValueError(f"{pictured} input channels: RGB is needed")
    starts = [blocks.format(group) for group in sorted({int(n.split(".")[1]) for n in weights if n[:7] == "layers."})]
    depths = tuple(len({n[len(start) :].split(".")[0] for n in weights if n.startswith(start)}) for start in starts)
    tail, scale = _tail(weights)
    before = weights.get("conv_before_upsample.0.weight")
    inner = channels if before is None else before.shape[0]
    return Shape(channels, depths, scale, tail, inner, "conv_after_body.0.weight" in weights)


def _tail(weights: Mapping[str, Tensor]) -> tuple[Tail, int]:
    if "conv_up1.weight" in weights:
        return "nearest+conv", 2 ** sum(name.startswith("conv_up") and name.endswith(".weight") for name in weights)
    if "conv_before_upsample.0.weight" in weights:
        steps = [weights[name] for name in weights if name.startswith("upsample.") and name.endswith(".weight")]
        return "pixelshuffle", math.prod(math.isqrt(step.shape[0] // step.shape[1]) for step in steps)
    if "upsample.0.weight" in weights:
        return "pixelshuffledirect", shuffled_scale(weights["upsample.0.weight"])
    raise ValueError("it does not enlarge: it is made to clean pictures")
