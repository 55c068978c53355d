"""What an upscaling network is to the one who enlarges whole pictures with it, tile by tile."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional


class UpscalingNetwork(nn.Module):
    """A network in two parts: `understand` sees far around each place, `enlarge` hardly beyond it.

    Attributes:
        scale: output side over input side.
        receptive_radius: how far the image is seen from one place in it, in features.
        values_per_px: values of the widest layer, for each pixel of the input.
        unshuffle: features are so much smaller than the image, whose sides must be multiples of it.
        most_overlap: in features; what lies farther than this changes the result by no more than a step of 255.
        runs_in_half: float16 is exact enough.
    """

    scale: int
    receptive_radius: int
    values_per_px: int
    unshuffle: int = 1
    most_overlap: ClassVar[int] = 36
    runs_in_half: ClassVar[bool] = True

    @abstractmethod
    def understand(self, image: Tensor) -> Tensor:
        """Compute the features (N, C, H/unshuffle, W/unshuffle) of an image (N, 3, H, W) in [0, 1]."""

    def enlarge(self, features: Tensor) -> Tensor:
        """Paint the enlarged image (N, 3, scale·H, scale·W), not clamped, from its features: its folded pixels."""
        return functional.pixel_shuffle(features, self.scale)

    def forward(self, image: Tensor) -> Tensor:
        """Upscale (N, 3, H, W) in [0, 1] to (N, 3, scale·H, scale·W), same dtype and device, not clamped."""
        return self.enlarge(self.understand(image))
