"""A loaded model taking requests step by step: prepare, denoise, decode."""

import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

import torch

from models.denoising.batch_sizes import BatchSizes
from models.denoising.decoding import Decoder
from models.denoising.passes import Denoiser, OnFailure
from models.denoising.preview import Previewer
from models.denoising.slot import Slot
from models.denoising.step_protocol import StepModel
from models.image import BatchItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Stepper:
    """The step-level face of one loaded model; `decode` and `close` are its `Decoder`'s. Not thread-safe."""

    def __init__(self, model: StepModel, sizes: BatchSizes | None = None) -> None:
        self._model = model
        self._denoiser = Denoiser(model, sizes or BatchSizes())
        self.previewer = Previewer(model)
        decoder = Decoder(model)
        self.decode, self.close, self.preview = decoder.decode, decoder.close, self.previewer.preview
        self._pace = Pace(model.device)

    @torch.no_grad()
    def start(self, item: BatchItem, weights: object) -> Slot:
        """A request ready for its first step; ModelError if the model cannot do it."""
        started = time.perf_counter()
        slot = self._model.start(item, weights)
        slot.seconds["text"] += time.perf_counter() - started
        return slot

    @torch.no_grad()
    def step(self, slots: Sequence[Slot], on_failure: OnFailure) -> None:
        """Advance every slot by one step; see `Denoiser.step`."""
        if not slots:
            return
        started = time.perf_counter()
        self._denoiser.step(slots, on_failure)
        self._pace.keep()
        share = (time.perf_counter() - started) / len(slots)
        for slot in slots:
            slot.seconds["denoise"] += share

    def pixels(self, slot: Slot, tile_px: int | None = None) -> "NDArray[np.uint8]":
        """The picture (H, W, 3) of a finished slot; waits for it."""
        decoded: SimpleQueue[NDArray[np.uint8] | Exception] = SimpleQueue()
        self.decode(slot, decoded.put, tile_px)
        outcome = decoded.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Pace:
    """Keeps the loop at most one step ahead of a GPU, which computes later than it is told to.

    Without it the loop would be many steps ahead: progress would be told too early, and a request that joins or is
    cancelled would wait for all that is already lined up. One step ahead is enough to keep the GPU busy.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._launched: torch.cuda.Event | None = None

    def keep(self) -> None:
        """Call it when a step has been launched: waits until the step before it is done."""
        if self._device.type != "cuda":
            return
        before, self._launched = self._launched, torch.cuda.Event(blocking=True)
        self._launched.record(torch.cuda.current_stream(self._device))
        if before:
            before.synchronize()
