"""SPAN, the swift attention network without parameters of its own (arXiv:2311.12770)."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.upscaling.compact import shuffled_scale
from models.upscaling.network import UpscalingNetwork

BLOCKS = 6
_MEAN = (0.4488, 0.4371, 0.4040)
_RANGE = 255.0
_CONVOLUTIONS_PER_BLOCK = 3


class SpanBlock(nn.Module):
    """Three convolutions whose result weighs itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for number in range(1, _CONVOLUTIONS_PER_BLOCK + 1):
            self.add_module(f"c{number}_r", nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The block's result, and what its first convolution found."""
        first, second, third = self.children()
        early = functional.silu(first(features))
        late = third(functional.silu(second(early)))
        return (late + features) * (torch.sigmoid(late) - 0.5), early


class SpanNet(UpscalingNetwork):
    """As it is run: the branches that it was trained with are one convolution each; see `span_weights`.

    Args:
        centred: the picture's values are taken from a mean, and times 255.
    """

    def __init__(self, channels: int = 48, scale: int = 4, *, centred: bool = True) -> None:
        super().__init__()
        self.scale, self._centred = scale, centred
        self.receptive_radius = BLOCKS * _CONVOLUTIONS_PER_BLOCK + 3
        self.values_per_px = max(4 * channels, 3 * scale**2)
        self.conv_1 = nn.Conv2d(3, channels, 3, padding=1)
        for number in range(1, BLOCKS + 1):
            self.add_module(f"block_{number}", SpanBlock(channels))
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)
        self.upsampler = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1))

    def understand(self, image: Tensor) -> Tensor:
        """The picture's pixels, folded."""
        if self._centred:
            image = (image - image.new_tensor(_MEAN).view(1, 3, 1, 1)) * _RANGE
        first = features = self.conv_1(image)
        done = []
        for number in range(1, BLOCKS + 1):
            features, early = self.get_submodule(f"block_{number}")(features)
            done.append(features)
        joined = torch.cat([first, self.conv_2(features), done[0], early], dim=1)
        result: Tensor = self.upsampler(self.conv_cat(joined))
        return result


def span_network(weights: Mapping[str, Tensor]) -> SpanNet:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    channels, pictured = weights["conv_1.sk.weight"].shape[:2]
    if pictured != 3:
        raise ValueError(f"{pictured} input channels: RGB is needed")
    return SpanNet(channels, shuffled_scale(weights["upsampler.0.weight"]), centred="no_norm" not in weights)


def span_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights with the branches of each convolution joined into one of 3×3."""
    plain = {name: tensor for name, tensor in weights.items() if name.startswith(("conv_cat.", "upsampler."))}
    known = {*plain, "no_norm"}
    for layer in (name.removesuffix(".sk.weight") for name in weights if name.endswith(".sk.weight")):
        plain |= dict(zip((f"{layer}.weight", f"{layer}.bias"), _joined(weights, layer), strict=True))
        known |= set(_branches(layer))
    return plain | {name: tensor for name, tensor in weights.items() if name not in known}


def _branches(layer: str) -> Iterator[str]:
    for part in ("sk", "conv.0", "conv.1", "conv.2", "eval_conv"):
        yield from (f"{layer}.{part}.weight", f"{layer}.{part}.bias")


def _joined(weights: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Tensor]:
    """Convolutions of 1×1, 3×3 and 1×1 in a row, and one of 1×1 beside them, as weight and bias of a single one."""
    (first, first_bias), (middle, middle_bias), (last, last_bias), (beside, beside_bias) = (
        (weights[f"{layer}.{part}.weight"], weights[f"{layer}.{part}.bias"])
        for part in ("conv.0", "conv.1", "conv.2", "sk")
    )
    weight = torch.einsum("om,mnhw,ni->oihw", last[:, :, 0, 0], middle, first[:, :, 0, 0])
    weight = weight + functional.pad(beside, (1, 1, 1, 1))
    inner = middle.sum(dim=(2, 3)) @ first_bias + middle_bias
    return weight, last[:, :, 0, 0] @ inner + last_bias + beside_bias
