"""One denoising step of several slots in one pass, or in more where memory or a bad request asks for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.memory import is_out_of_memory, return_memory
from models.denoising.slot import Slot
from models.denoising.step_protocol import StepModel
from models.errors import OutOfMemoryError

OnFailure = Callable[[Slot, Exception], None]

_PASSES_BEFORE_GROWING = 100
"""After running out of memory, a larger batch is tried again after so many passes."""


class Denoiser:
    """Takes slots of one model and LoRA one step further, whatever else they differ in."""

    def __init__(self, model: StepModel, sizes: BatchSizes) -> None:
        self._model = model
        self._sizes = sizes
        self._most: dict[torch.Size, int] = {}
        self._passes = 0

    def step(self, slots: Sequence[Slot], on_failure: OnFailure) -> None:
        """Advance every slot by one step; one that cannot is told to `on_failure`, and the others go on.

        If the memory does not suffice, the pass is made in halves, down to single slots and then to single rows.
        """
        self._passes += 1
        if self._passes % _PASSES_BEFORE_GROWING == 0:
            self._most.clear()
        for part in self._parts(slots):
            for slot, prediction in self._predictions(part, on_failure):
                try:
                    slot.advance(self._model.guided(slot, prediction))
                except Exception as exc:
                    on_failure(slot, exc)

    def _parts(self, slots: Sequence[Slot]) -> Iterator[list[Slot]]:
        """Slots that can be rows of one pass, no more of them than memory held last time."""
        for part in self._model.parts(slots):
            most = 1 if self._sizes.apart else self._most.get(_largest(part), len(part))
            for start in range(0, len(part), most):
                yield part[start : start + most]

    def _predictions(self, slots: list[Slot], on_failure: OnFailure) -> Iterator[tuple[Slot, torch.Tensor]]:
        """The network's output (rows, C, h, w) for each slot that has one."""
        try:
            output = self._model.predict(slots, self._sizes)
        except Exception as exc:
            failure = exc.with_traceback(None)
        else:
            yield from zip(slots, output, strict=True)
            return
        # Outside of the except block, so that the failed pass's tensors are free by now.
        return_memory()
        if len(slots) == 1:
            yield from self._prediction_by_row(slots[0], failure, on_failure)
            return
        middle = len(slots) // 2
        if is_out_of_memory(failure):
            self._most[_largest(slots)] = middle
        yield from self._predictions(slots[:middle], on_failure)
        yield from self._predictions(slots[middle:], on_failure)

    def _prediction_by_row(
        self, slot: Slot, failure: Exception, on_failure: OnFailure
    ) -> Iterator[tuple[Slot, torch.Tensor]]:
        """A slot that has no room even alone, each of its rows in a pass of its own that is not filled up."""
        if is_out_of_memory(failure) and self._sizes.padded(slot.rows) > 1:
            # A single row is tried where two find no memory: a second one beside it would find none, either.
            sizes = replace(self._sizes, multiple=1)
            try:
                passes = [self._model.predict([slot], sizes, row)[0] for row in range(slot.rows)]
            except Exception as exc:
                failure = exc.with_traceback(None)
            else:
                yield slot, torch.cat(passes)
                return
        on_failure(slot, _explained(failure, slot))


def _largest(slots: Sequence[Slot]) -> torch.Size:
    return max((slot.latents.shape for slot in slots), key=torch.Size.numel)


def _explained(failure: Exception, slot: Slot) -> Exception:
    if not is_out_of_memory(failure):
        return failure
    return OutOfMemoryError(
        f"out of memory: {slot.recipe.size} does not fit beside the model, not even alone. Ask for fewer pixels."
    )
