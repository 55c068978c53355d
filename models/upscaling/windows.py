"""Attention in windows of a picture's features, as the transformers among upscaling networks have it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Sides = tuple[int, int]
"""Height and width, or steps down and to the right."""
_OTHER_PLACE = -100.0
"""Added where shifting brings places together that are not neighbours, as the networks were trained with."""


def offsets(window: Sides) -> Tensor:
    """For each two places of a window (places, places), which of its (2h-1)(2w-1) offsets they have."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, window), indexing="ij")).flatten(1)
    rows, columns = places[:, :, None] - places[:, None]
    numbers: Tensor = (rows + window[0] - 1) * (2 * window[1] - 1) + columns + window[1] - 1
    return numbers


def windows(features: Tensor, window: Sides) -> Tensor:
    """Features (N, H, W, channels) as windows (count, places, channels); sides are multiples of the window's."""
    count, height, width, channels = features.shape
    parts = features.reshape(count, height // window[0], window[0], width // window[1], window[1], channels)
    return parts.transpose(2, 3).reshape(-1, window[0] * window[1], channels)


def unwindowed(parts: Tensor, shape: Sequence[int], window: Sides) -> Tensor:
    """Windows as features of this shape again."""
    count, height, width, _ = shape
    rows = parts.reshape(count, height // window[0], width // window[1], *window, -1)
    return rows.transpose(2, 3).reshape(count, height, width, -1)


def attend(parts: Iterable[Tensor], heads: int, bias: Tensor) -> Tensor:
    """Attention of queries, keys and values, each of windows (count, places, channels).

    Args:
        bias: what is added, (…, heads or 1, places, places).
    """
    query, key, value = (one.unflatten(2, (heads, -1)).transpose(1, 2) for one in parts)
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return found.transpose(1, 2).flatten(2)


def shift_mask(features: Tensor, window: Sides, shift: Sides) -> Tensor:
    """What keeps apart, (windows, 1, places, places), what only a shift around the picture's edge brings together."""
    count, *lengths, _ = features.shape
    sides = []
    for length, long, far in zip(lengths, window, shift, strict=True):
        places = torch.arange(length, device=features.device)
        sides.append((places >= length - long).int() + (places >= length - far).int())
    regions = windows((sides[0][:, None] * 3 + sides[1])[None, :, :, None], window)[:, :, 0]
    mask = torch.where(regions[:, :, None] == regions[:, None], 0.0, _OTHER_PLACE)
    return mask.repeat(count, 1, 1)[:, None].to(features.dtype)


class WindowAttention(nn.Module):
    """Attention among the places of a square window, with a learned bias for each offset of two places."""

    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("offsets", offsets((window, window)), persistent=False)

    def forward(self, parts: Tensor, mask: Tensor | None) -> Tensor:
        """Attend in windows (count, places, channels), same shape; a mask is added to the bias."""
        bias = self.relative_position_bias_table[self.get_buffer("offsets")].permute(2, 0, 1)[None]
        bias = bias if mask is None else bias + mask
        result: Tensor = self.proj(attend(self.qkv(parts).chunk(3, dim=2), self._heads, bias))
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
    """Attention in windows, shifted by `shift` places or not, and an MLP (arXiv:2103.14030)."""

    def __init__(self, channels: int, window: int, heads: int, hidden: int, shift: int) -> None:
        super().__init__()
        self._window, self._shift = (window, window), (shift, shift)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, H, W, channels), same shape; H and W are multiples of the window."""
        features = features + self.found(self.norm1(features))
        result: Tensor = features + self.mlp(self.norm2(features))
        return result

    def found(self, normed: Tensor) -> Tensor:
        """What attention finds in normalized features, same shape."""
        is_shifted = any(self._shift)
        mask = shift_mask(normed, self._window, self._shift) if is_shifted else None
        shifted = torch.roll(normed, [-far for far in self._shift], (1, 2))
        attended = self.attn(windows(shifted, self._window), mask)
        return torch.roll(unwindowed(attended, normed.shape, self._window), self._shift, (1, 2))
