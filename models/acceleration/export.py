"""A UNet as a graph of tensor operations (`torch.export`), the form that TensorRT's compiler takes."""

from typing import Any

import torch
from torch.export import Dim, ExportedProgram, export


class _PlainUNet(torch.nn.Module):
    """The UNet with tensors for arguments and result."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.unet(sample, timestep, encoder_hidden_states=states, return_dict=False)[0]
        return output


def export_unet(unet: Any, height: int, width: int, tokens: int, most_rows: int) -> ExportedProgram:
    """The UNet of Stable Diffusion 1.x or 2.x for one latent size and 2 to `most_rows` rows.

    Args:
        height: of the latents; and `width`.
        tokens: of the text, 77 for one window.
    Returns:
        a program of (sample (N, C, h, w), timestep (N,) float32, states (N, tokens, width)) → (N, C, h, w).
    """
    rows = Dim("rows", min=2, max=most_rows)
    like = next(unet.parameters())
    inputs = (
        like.new_zeros(2, unet.config.in_channels, height, width),
        torch.zeros(2, device=like.device),
        like.new_zeros(2, tokens, unet.config.cross_attention_dim),
    )
    with torch.no_grad():
        return export(_PlainUNet(unet), inputs, dynamic_shapes=({0: rows}, {0: rows}, {0: rows}))
