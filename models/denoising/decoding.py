"""Finished latents as pictures, one at a time; on a GPU beside the steps of the others."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.denoising.memory import is_out_of_memory, return_memory
from models.denoising.slot import Slot
from models.denoising.step_protocol import StepModel
from models.errors import ModelError, OutOfMemoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SMALLEST_TILE = 8
"""Latents along each side; smaller tiles would save next to nothing beside the whole picture."""

OnDecoded = Callable[["NDArray[np.uint8] | Exception"], None]


class Decoder:
    """Decodes in a thread and CUDA stream of its own, or at once where there is but one processor to share."""

    def __init__(self, model: StepModel, *, beside: bool | None = None) -> None:
        """Use `model`'s VAE.

        Args:
            beside: decode in a thread of its own; by default on a GPU.
        """
        self._model = model
        on_gpu = model.device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(model.device) if on_gpu else None
        beside = on_gpu if beside is None else beside
        self._thread = ThreadPoolExecutor(1, "imagegenx-decoder") if beside else None

    def decode(self, slot: Slot, on_decoded: OnDecoded, tile_px: int | None = None) -> None:
        """Tell `on_decoded` the pixels (H, W, 3) of the slot's latents, or why there are none; at once or later.

        Args:
            tile_px: decode in tiles with sides of so many pixels; smaller ones where memory does not suffice.
        """
        if self._stream:
            self._stream.wait_stream(torch.cuda.current_stream(self._model.device))
            slot.latents.record_stream(self._stream)
        if self._thread:
            self._thread.submit(self._decode, slot, on_decoded, tile_px)
        else:
            self._decode(slot, on_decoded, tile_px)

    def close(self) -> None:
        """Finish what is under way."""
        if self._thread:
            self._thread.shutdown(wait=True)

    def _decode(self, slot: Slot, on_decoded: OnDecoded, tile_px: int | None) -> None:
        started = time.perf_counter()
        outcome = self._outcome(slot, tile_px and tile_px // self._model.px_per_latent)
        slot.seconds["decode"] += time.perf_counter() - started
        on_decoded(outcome)

    def _outcome(self, slot: Slot, tile: int | None) -> "NDArray[np.uint8] | Exception":
        try:
            with torch.no_grad(), torch.cuda.stream(self._stream) if self._stream else nullcontext():
                return to_pixels(self._decoded(slot, tile))
        except Exception as exc:
            return exc.with_traceback(None)

    def _decoded(self, slot: Slot, tile: int | None) -> "NDArray[np.float32]":
        """Decoded as it should be, or, where that finds no memory, in smaller and smaller tiles until one fits."""
        for attempt in (tile, *_smaller_tiles(tile or max(slot.latents.shape[2:]))):
            try:
                return self._model.decode(slot.latents, attempt)
            except Exception as exc:
                if not is_out_of_memory(exc):
                    raise
            # Outside of the except block, so that the failed attempt's tensors are free by now.
            return_memory()
            logger.warning("%s: no memory to decode it in %s", slot.recipe.size, _pieces(attempt))
        raise OutOfMemoryError(f"out of memory: a picture of {slot.recipe.size} cannot be decoded.")


def _smaller_tiles(side: int) -> Iterator[int]:
    """Sides of tiles in latents, from half of a picture's or tile's longer side down; multiples of 4."""
    while (side := 4 * math.ceil(side / 8)) >= _SMALLEST_TILE:
        yield side


def _pieces(tile: int | None) -> str:
    return f"tiles of {tile} latents" if tile else "one piece; the setting engine.decode_budget_pixels bounds a piece"


def to_pixels(picture: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """A picture of range [0, 1] as uint8, cut off where it overshoots.

    Raises:
        ModelError: if it is none, as overflow in half precision makes them.
    """
    if not np.isfinite(picture).all():
        raise ModelError("the model gave values that are not numbers (NaN or infinite); try dtype float32")
    pixels = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    if not pixels.any():
        raise ModelError("the model gave an all-black picture; try dtype float32")
    return pixels
