"""Stable Diffusion 1.x, 2.x and XL in the denoising loop: a UNet, perhaps led by ControlNets."""

from collections.abc import Iterable, Sequence

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.rows import Inputs, Rows, gather_rows, repeated
from models.denoising.slot import Slot
from models.denoising.step_cache import deep_blocks, is_partial, keep_deep, kept_deep
from models.denoising.unet_parts import UNetParts
from models.denoising.unet_start import start_slot
from models.image import BatchItem


class UNetModel(UNetParts):
    """See `StepModel`."""

    def start(self, item: BatchItem, weights: object) -> Slot:
        """See `StepModel`."""
        return start_slot(self, item, weights)

    def parts(self, slots: Sequence[Slot]) -> Iterable[list[Slot]]:
        """Slots of equal size and text length, whose next step is a whole or a partial one."""
        alike: dict[tuple[torch.Size, int, bool], list[Slot]] = {}
        for slot in slots:
            key = (slot.latents.shape, slot.conditions.states.shape[1], is_partial(slot))
            alike.setdefault(key, []).append(slot)
        return alike.values()

    def predict(self, slots: Sequence[Slot], sizes: BatchSizes, row: int | None = None) -> Sequence[torch.Tensor]:
        """See `StepModel`."""
        rows = gather_rows(slots, sizes, row)
        inputs = rows.unet_inputs() | (self._residuals(rows, sizes) if rows.controls else {})
        output = self._output(slots, inputs, sizes, row)
        counts = [slot.rows if row is None else 1 for slot in slots]
        return torch.split(output[: sum(counts)].to(slots[0].latents.dtype), counts)

    def guided(self, slot: Slot, prediction: torch.Tensor) -> torch.Tensor:
        """See `StepModel`."""
        if len(prediction) == 1:
            return prediction
        without, given = prediction.chunk(2)
        return without + slot.recipe.cfg_scale * (given - without)

    def _output(self, slots: Sequence[Slot], inputs: Inputs, sizes: BatchSizes, row: int | None) -> torch.Tensor:
        """The UNet's output, with what slots keep from step to step."""
        if not any(slot.recipe.step_cache for slot in slots):
            return self.unet(**inputs, return_dict=False)[0]  # type: ignore[no-any-return]
        kept = repeated(kept_deep(slots, row), sizes) if is_partial(slots[0]) else None
        with deep_blocks(self.unet, kept) as outcome:
            output: torch.Tensor = self.unet(**inputs, return_dict=False)[0]
        if kept is None:
            keep_deep(slots, row, outcome[0])
        return output

    def _residuals(self, rows: Rows, sizes: BatchSizes) -> dict[str, object]:
        """What all ControlNets together add to the UNet's layers."""
        added = list[torch.Tensor]()
        for name, control in rows.controls.items():
            down, middle = self.controlnets[name](**rows.control_inputs(control, sizes), return_dict=False)
            spread = [rows.spread(control, one) for one in (*down, middle)]
            added = [before + one for before, one in zip(added, spread, strict=True)] if added else spread
        return {"down_block_additional_residuals": added[:-1], "mid_block_additional_residual": added[-1]}
