"""Steps that compute only a UNet's outermost blocks, the rest taken from earlier ones (arXiv:2312.00858)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from models.denoising.slot import Slot


def is_partial(slot: Slot) -> bool:
    """Whether a request's next step takes what is deep in the network from an earlier one."""
    return slot.sampling.done % slot.recipe.step_cache_interval > 0


@contextmanager
def deep_blocks(unet: Any, kept: torch.Tensor | None) -> Iterator[list[Any]]:
    """For one pass, have the blocks below the outermost ones skipped, or their outcome told.

    Args:
        kept: the outcome (rows, C, h, w) of an earlier pass, with which they are skipped; None to compute them.
    Yields:
        what holds the outcome at the end.
    """
    blocks = [*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]]
    outcome = [kept]

    def told(block: Any) -> Callable[..., Any]:
        compute = block.forward

        def forward(*given: Any, **named: Any) -> Any:
            outcome[0] = compute(*given, **named)
            return outcome[0]

        return forward

    hole = unet.conv_out.weight.new_zeros(())

    def skipped(block: Any) -> Callable[..., Any]:
        # Nobody looks into the holes: those who would take them are skipped, too.
        given_back: Any = kept if block is blocks[-1] else hole
        if block in unet.down_blocks:
            given_back = (hole, (hole,) * (len(block.resnets) + bool(block.downsamplers)))
        return lambda *given, **named: given_back

    changed = blocks[-1:] if kept is None else blocks
    for block in changed:
        block.forward = (told if kept is None else skipped)(block)
    try:
        yield outcome
    finally:
        for block in changed:
            del block.forward


def kept_deep(slots: Sequence[Slot], row: int | None) -> torch.Tensor:
    """What slots before a partial step have kept, of all their rows or of one: (rows, C, h, w)."""
    kept = [slot.deep for slot in slots if slot.deep is not None]
    return torch.cat([one if row is None else one[row : row + 1] for one in kept])


def keep_deep(slots: Sequence[Slot], row: int | None, outcome: torch.Tensor) -> None:
    """Give each of the slots that cache its rows of the outcome (rows, C, h, w) of a whole pass, or that one row."""
    first = 0
    for slot in slots:
        last = first + (slot.rows if row is None else 1)
        if slot.recipe.step_cache:
            before = [slot.deep[:row]] if row and slot.deep is not None else []
            slot.deep = torch.cat([*before, outcome[first:last]])
        first = last
