"""A slot: one request in the middle of its denoising."""

from dataclasses import dataclass, field
from typing import Any

import torch

from models.denoising.sampling import Sampling
from models.image import BatchItem
from models.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Kept:
    """What inpainting puts back outside of the mask after each step; all (1, ·, h, w)."""

    mask: torch.Tensor
    latents: torch.Tensor
    noise: torch.Tensor


@dataclass(eq=False)
class Slot:
    """One request between two denoising steps.

    Attributes:
        conditions: what its model adds to the latents in each pass; says by `rows` how many rows it takes there.
        latents: (1, C, h, w).
        deep: what its network made deep down at its last whole step, (rows, C, h, w), where its recipe has it kept.
        estimate: what its latents were heading for at the last step, where `wants_estimate` was set before its end.
    """

    item: BatchItem
    sampling: Sampling
    conditions: Any
    latents: torch.Tensor
    kept: Kept | None
    wants_estimate: bool = False
    estimate: torch.Tensor | None = None
    deep: torch.Tensor | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"text": 0.0, "denoise": 0.0, "decode": 0.0})

    @property
    def recipe(self) -> Recipe:
        """The request's recipe."""
        return self.item.recipe

    @property
    def rows(self) -> int:
        """Rows in each pass: 1, or 2 with guidance by a second prompt."""
        return int(self.conditions.rows)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step, given the model's guided prediction (1, C, h, w)."""
        self.estimate = self.sampling.estimate(prediction, self.latents) if self.wants_estimate else None
        self.latents = self.sampling.advance(prediction, self.latents)
        if self.kept:
            self.latents = self._with_kept(self.kept)

    def _with_kept(self, kept: Kept) -> torch.Tensor:
        given = kept.latents
        if not self.sampling.is_done:
            given = self.sampling.add_noise(given, kept.noise, self.sampling.done)
        return (1 - kept.mask) * given + kept.mask * self.latents
