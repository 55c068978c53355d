"""Small pictures of latents in the middle of their denoising: by a linear map to colours, or by a tiny VAE."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import avg_pool2d, interpolate

from models.denoising.slot import Slot
from models.denoising.step_protocol import StepModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OnPreview = Callable[[Callable[[], "NDArray[np.uint8]"]], None]
"""Told what waits for, and gives, a small picture (h, w, 3); may be asked for it in any thread."""

_PATCHES, _SIDE, _PICTURES = 4, 16, 8
"""Colours along each side of the pictures that the map is fitted to, their sides in latents, and how many there are."""


class Previewer:
    """Pictures with one pixel for each latent, of one loaded model. They cost a small matrix product each.

    The map is fitted, at the first one, to what the model's own VAE makes of smooth random colours: least squares.

    Attributes:
        vae: an `AutoencoderTiny` of diffusers that draws them in the map's stead, at their full size.
    """

    def __init__(self, model: StepModel) -> None:
        self._model = model
        self._colours: torch.Tensor | None = None
        self.vae: Any = None

    @torch.no_grad()
    def preview(self, slot: Slot) -> Callable[[], "NDArray[np.uint8]"]:
        """What gives the slot's estimate as a picture (h, w, 3); it waits for the device."""
        assert slot.estimate is not None
        colours = self._mapped(slot.estimate.float()) if self.vae is None else self._decoded(slot.estimate)
        picture = colours.clip(0, 1).mul(255).round().to(torch.uint8)
        return lambda: picture.cpu().numpy()

    def _mapped(self, latents: torch.Tensor) -> torch.Tensor:
        if self._colours is None:
            self._colours = self._fitted()
        return _with_ones(self._model.unscaled_latents(latents)) @ self._colours

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        # Made for what the network gives, without the scale of the model's own VAE.
        latents = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
        picture: torch.Tensor = self.vae.decode(latents, return_dict=False)[0][0]
        return picture.float().permute(1, 2, 0) / 2 + 0.5

    def _fitted(self) -> torch.Tensor:
        """The map (C + 1, 3) from latents and 1 to RGB of range [0, 1]."""
        model, generator = self._model, torch.Generator("cpu").manual_seed(0)
        side = _SIDE * model.px_per_latent
        patches = torch.rand((_PICTURES, 3, _PATCHES, _PATCHES), generator=generator)
        pictures = interpolate(patches, (side, side), mode="bilinear", align_corners=True)
        latents = torch.cat([model.encode(one[None] * 2 - 1, generator) for one in pictures]).float().cpu()
        colours = avg_pool2d(pictures, model.px_per_latent).permute(0, 2, 3, 1).reshape(-1, 3)
        rows = torch.cat([_with_ones(one[None]).reshape(-1, latents.shape[1] + 1) for one in latents])
        return torch.linalg.lstsq(rows, colours).solution.to(model.device)  # type: ignore[no-any-return]


def _with_ones(latents: torch.Tensor) -> torch.Tensor:
    """Latents (1, C, h, w) as (h, w, C + 1)."""
    values = latents[0].permute(1, 2, 0)
    return torch.cat([values, values.new_ones((*values.shape[:2], 1))], dim=2)
