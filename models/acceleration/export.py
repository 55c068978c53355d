"""A UNet as a graph of tensor operations (`torch.export`, or a trace), the form that other runtimes take."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.export import Dim, ExportedProgram, export

from models.errors import ModelError

FEWEST_ROWS = 2
"""A graph of a varying number of rows cannot begin at one."""


class PlainUNet(torch.nn.Module):
    """The UNet with tensors for arguments and result."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        states: torch.Tensor,
        pooled: torch.Tensor | None = None,
        sizes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": sizes}
        output: torch.Tensor = self.unet(
            sample, timestep, encoder_hidden_states=states, added_cond_kwargs=added, return_dict=False
        )[0]
        return output


class ExportedUNet(ABC):
    """Stands in for a UNet: takes its arguments, and has another runtime run it with tensors alone.

    Args:
        folder: where it is kept in the runtime's form; any number of processes may share it.
        release: the digest of the model's files. What was made of other files is never used.
    """

    accelerator: ClassVar[str]

    def __init__(self, unet: Any, folder: Path, release: str) -> None:
        self.config = unet.config
        self._unet, self._folder, self._release = unet, folder, release

    def __call__(
        self,
        *,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """Run it, as the UNet it was made from."""
        if timestep_cond is not None:
            refused = f"accelerator '{self.accelerator}' does not run models with embedded guidance"
            raise ModelError(f"{refused}; use compile or eager.")
        return (self._run(sample, timestep, encoder_hidden_states, *(added_cond_kwargs or {}).values()),)

    @abstractmethod
    def _run(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The output for what `unet_inputs` describes."""

    def _file_for(self, facts: Sequence[object], ending: str) -> Path:
        """The file of what depends on these facts, and on the model's files."""
        name = hashlib.sha256(json.dumps([self._release, *facts]).encode()).hexdigest()[:32]
        return self._folder / f"{name}{ending}"


def unet_inputs(unet: Any, rows: int, height: int, width: int, tokens: int) -> tuple[torch.Tensor, ...]:
    """Zeros in the shapes that a UNet takes.

    Args:
        height: of the latents; and `width`.
        tokens: of the text, 77 for one window.
    Returns:
        sample (rows, C, h, w), timestep (rows,) float32, states (rows, tokens, width), and for Stable Diffusion XL
        pooled (rows, width) and sizes (rows, 6).
    """
    like, config = next(unet.parameters()), unet.config
    inputs = (
        like.new_zeros(rows, config.in_channels, height, width),
        torch.zeros(rows, device=like.device),
        like.new_zeros(rows, tokens, config.cross_attention_dim),
    )
    if config.addition_embed_type != "text_time":
        return inputs
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    return (*inputs, like.new_zeros(rows, pooled), like.new_zeros(rows, 6))


def export_unet(unet: Any, height: int, width: int, tokens: int, most_rows: int) -> ExportedProgram:
    """The UNet of Stable Diffusion 1.x, 2.x or XL for one latent size and 2 to `most_rows` rows.

    Returns:
        a program of what `unet_inputs` describes → (N, C, h, w).
    """
    inputs = unet_inputs(unet, FEWEST_ROWS, height, width, tokens)
    with torch.no_grad():
        return export(PlainUNet(unet), inputs, dynamic_shapes=row_shapes(inputs, most_rows))


def row_shapes(inputs: tuple[torch.Tensor, ...], most_rows: int) -> tuple[dict[int, Any], ...]:
    """What varies in a program's inputs, as `torch.export` takes it: all have the same number of rows."""
    rows = Dim("rows", min=FEWEST_ROWS, max=most_rows)
    return ({0: rows},) * len(inputs)
