"""What the denoising loop asks of a loaded model, whatever its network: the one seam between loop and models."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.slot import Slot
from models.image import BatchItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StepModel(Protocol):
    """A loaded model whose requests share passes."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def px_per_latent(self) -> int:
        """Pixels of a picture to one value of its latents, along each side."""
        ...

    def start(self, item: BatchItem, weights: object) -> Slot:
        """A request ready for its first step, `weights` naming the LoRAs in use; ModelError if it cannot do it."""
        ...

    def parts(self, slots: Sequence[Slot]) -> Iterable[list[Slot]]:
        """The slots in groups that can be rows of one pass."""
        ...

    def predict(self, slots: Sequence[Slot], sizes: BatchSizes, row: int | None = None) -> Sequence[torch.Tensor]:
        """The network's output (rows, C, h, w) for each of the slots of one part, all in one pass.

        Args:
            sizes: rows that a pass may have.
            row: compute only this row of each slot.
        """
        ...

    def guided(self, slot: Slot, prediction: torch.Tensor) -> torch.Tensor:
        """What the solver takes (1, C, h, w), of the outputs (rows, C, h, w) for the slot's rows."""
        ...

    def encode(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The VAE's latents (1, C, h, w) of a picture (1, 3, H, W) of range [-1, 1], drawn from its distribution."""
        ...

    def unscaled_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """The network's latents as the VAE has them."""
        ...

    def decode(self, latents: torch.Tensor, tile: int | None = None) -> "NDArray[np.float32]":
        """Finished latents (1, C, h, w) as a picture (H, W, 3) of range [0, 1] but for overshoots, perhaps in tiles."""
        ...
