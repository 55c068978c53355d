"""The judge of adherence: a small classifier of the built-in model's products and styles."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

SIDE_PX = 64
"""Pictures are resized and centre-padded to this square before they are judged."""


class Judge(nn.Module):
    """Four strided convolutions, then one linear layer for the product and one for the style."""

    def __init__(self, products: int, styles: int) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.product = nn.Linear(widths[-1] * 16, products)
        self.style = nn.Linear(widths[-1] * 16, styles)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, products) and (N, styles) of pictures (N, 3, 64, 64) in [-1, 1]."""
        features = self.features(pictures).flatten(1)
        return self.product(features), self.style(features)


def to_square(pictures: Tensor) -> Tensor:
    """Resize (N, 3, H, W) so that the longer side is 64 px and pad the other with the border's colour."""
    height, width = pictures.shape[-2:]
    scale = SIDE_PX / max(height, width)
    small = F.interpolate(pictures, size=(round(height * scale), round(width * scale)), mode="area")
    down, right = SIDE_PX - small.shape[-2], SIDE_PX - small.shape[-1]
    return F.pad(small, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")


@cache
def load_judge(path: Path) -> Judge:
    """The trained judge in float32 on the CPU."""
    weights = {name: value.float() for name, value in load_file(path).items()}
    judge = Judge(len(weights["product.bias"]), len(weights["style.bias"]))
    judge.load_state_dict(weights)
    return judge.eval()


@torch.no_grad()
def judge_logits(judge: Judge, picture: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Logits (products,) and (styles,) of one (H, W, 3) picture."""
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)
    products, styles = judge(to_square(tensor))
    return products[0], styles[0]


def product_shares(judge: Judge, picture: npt.NDArray[np.uint8]) -> list[float]:
    """How sure the judge is to see each product, 0 to 1, together 1."""
    shares: list[float] = judge_logits(judge, picture)[0].softmax(0).tolist()
    return shares
