"""Decoding in tiles that fit together, for pictures too large for the memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch.nn import GroupNorm
from torch.nn.functional import interpolate

Scales = dict[GroupNorm, tuple[torch.Tensor, torch.Tensor]]
"""What a normalization multiplies with and adds, by channel."""


def decode_in_tiles(vae: Any, latents: torch.Tensor, tile: int, px_per_latent: int) -> torch.Tensor:
    """Decode in overlapping squares; takes up to twice the time of the picture in one piece.

    The decoder's normalizations look at the whole picture: each tile by itself would get its own colours. So how they
    scale is taken from the picture shrunk to one tile, as Tiled VAE does it (pkuliyi2015's extension of Stable
    Diffusion web UI, its fast mode).

    Args:
        vae: only its decoder may not be in use elsewhere.
        latents: (1, C, h, w) as the VAE takes them.
        tile: latents along each side of a square; a multiple of 4, so that squares meet at whole pixels.
    Returns:
        (1, 3, H, W), nearly what the VAE makes of it in one piece.
    """
    norms = [module for module in vae.decoder.modules() if isinstance(module, GroupNorm)]
    scales: Scales = {}
    with _hooked(norms, lambda norm, inputs, output: _keep(scales, norm, inputs[0])):
        vae.decode(_shrunk(latents, tile), return_dict=False)
    with _hooked(norms, lambda norm, inputs, output: _scaled(scales, norm, inputs[0])):
        picture: torch.Tensor = _tiling(vae, tile, px_per_latent).decode(latents, return_dict=False)[0]
    return picture


def _tiling(vae: Any, tile: int, px_per_latent: int) -> Any:
    """A second face of the same weights: the VAE itself may be encoding in another thread."""
    face = copy(vae)
    face.use_tiling = True
    face.tile_latent_min_size, face.tile_sample_min_size = tile, tile * px_per_latent
    return face


def _shrunk(latents: torch.Tensor, side: int) -> torch.Tensor:
    """Its longer side as given. Values are picked, not averaged, which would make them smaller."""
    height, width = latents.shape[2:]
    longer = max(height, width)
    return interpolate(latents, size=(max(1, height * side // longer), max(1, width * side // longer)), mode="nearest")


@contextmanager
def _hooked(modules: list[GroupNorm], hook: Callable[..., torch.Tensor | None]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _keep(scales: Scales, norm: GroupNorm, values: torch.Tensor) -> None:
    groups = values.float().reshape(norm.num_groups, -1)
    variance, mean = torch.var_mean(groups, dim=1, correction=0)
    repeats = norm.num_channels // norm.num_groups
    mean, deviation = (one.repeat_interleave(repeats) for one in (mean, (variance + norm.eps).sqrt()))
    factor = norm.weight.float() / deviation
    scales[norm] = factor.to(values.dtype), (norm.bias.float() - mean * factor).to(values.dtype)


def _scaled(scales: Scales, norm: GroupNorm, values: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *(1,) * (values.ndim - 2))
    factor, offset = (one.view(shape) for one in scales[norm])
    return torch.addcmul(offset, values, factor)
