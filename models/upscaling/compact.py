"""The compact network of Real-ESRGAN (SRVGG; arXiv:2107.10833): plain convolutions, one pixel shuffle at the end."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from models.upscaling.network import UpscalingNetwork


class CompactNet(UpscalingNetwork):
    """Parameters are named as in the published weights."""

    def __init__(self, num_features: int = 64, num_convolutions: int = 16, scale: int = 4) -> None:
        super().__init__()
        self.scale, self.receptive_radius = scale, num_convolutions + 2
        self.values_per_px = max(num_features, 3 * scale**2)
        layers: list[nn.Module] = [nn.Conv2d(3, num_features, 3, padding=1), nn.PReLU(num_features)]
        for _ in range(num_convolutions):
            layers += [nn.Conv2d(num_features, num_features, 3, padding=1), nn.PReLU(num_features)]
        self.body = nn.Sequential(*layers, nn.Conv2d(num_features, 3 * scale**2, 3, padding=1))

    def understand(self, image: Tensor) -> Tensor:
        """The picture's pixels, folded: the small picture's own, and what is added to them."""
        result: Tensor = self.body(image) + image.repeat_interleave(self.scale**2, dim=1)
        return result


def compact_network(weights: Mapping[str, Tensor]) -> CompactNet:
    """The network that weights are of; KeyError or ValueError if they are of none."""
    places = sorted({int(name.split(".")[1]) for name in weights})
    scale = shuffled_scale(weights[f"body.{places[-1]}.weight"])
    return CompactNet(weights["body.0.weight"].shape[0], len(places) // 2 - 1, scale)


def shuffled_scale(last: Tensor) -> int:
    """The scale of a network whose last convolution, of this weight, gives the folded pixels; ValueError if none."""
    scale = math.isqrt(last.shape[0] // 3)
    if scale < 1 or last.shape[0] != 3 * scale**2:
        raise ValueError(f"{last.shape[0]} output channels: RGB is needed")
    return scale
