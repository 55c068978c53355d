"""Passes on a CPU whose rows do not depend, not even in the last bit, on how many there are."""

import torch
from torch.nn import Conv2d, Linear, Module

ROWS_MULTIPLE = 2
"""For a single row PyTorch takes other convolutions than for several, and for odd numbers sometimes others, too."""

_FEW_PLACES = 64
"""With fewer places a row (pixels or tokens), products are computed differently for each number of rows."""


def make_rows_exact(network: Module) -> None:
    """Have a UNet or ControlNet, channels last in memory, compute each row of a batch as it would in any other batch.

    Attention and wide convolutions do so, for multiples of `ROWS_MULTIPLE`. In the products of layers with few places
    the order of sums follows the size of the whole batch; these are computed row by row, in one call, as fast. Seen to
    hold with AVX-512, and with AVX2 in one thread; elsewhere a few pixels of a picture may differ by one level.
    """
    for module in network.modules():
        if type(module) is Linear:
            module.__class__ = _ExactLinear
        elif type(module) is Conv2d and module.kernel_size == module.stride == (1, 1) and module.groups == 1:
            module.__class__ = _ExactPointwise


class _ExactLinear(Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(rows, places, features) or (rows, features), as the layer itself; other shapes go to it."""
        if input.ndim == 2:
            return _by_row(input[:, None], self.weight, self.bias)[:, 0]
        if input.ndim == 3 and input.shape[1] < _FEW_PLACES:
            return _by_row(input, self.weight, self.bias)
        return super().forward(input)


class _ExactPointwise(Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(rows, features, height, width), as the convolution itself."""
        rows, _, height, width = input.shape
        if height * width >= _FEW_PLACES:
            return super().forward(input)
        places = input.permute(0, 2, 3, 1).reshape(rows, height * width, -1)
        output = _by_row(places, self.weight[:, :, 0, 0], self.bias)
        return output.reshape(rows, height, width, -1).permute(0, 3, 1, 2)


def _by_row(places: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    weights = weight.t().expand(len(places), -1, -1)
    return torch.bmm(places, weights) if bias is None else torch.baddbmm(bias, places, weights)
