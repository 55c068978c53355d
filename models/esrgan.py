"""Super-resolution of whole pictures with networks of several architectures, tile by tile."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from models.colour_anchor import anchor_colours
from models.digests import file_digest
from models.errors import ModelError, ModelLoadError, PictureError
from models.upscaling.network import UpscalingNetwork
from models.upscaling.reading import read_network

WORKING_BYTES = 512 * 2**20
"""About how much memory upscaling takes besides the network, the picture and its result."""

PAINTING_MARGIN = 4
"""Features around a tile that its painting and the reduction after it need, in features."""

MARGIN_FEATURES = 4
"""The picture's edge is repeated so far: the zeros that convolutions see beyond it would darken its rim."""

_COPIES_IN_FLIGHT = 5


@dataclass(frozen=True)
class _Span:
    """A tile's rows or columns, in features: those it answers for, those it paints and those it looks at."""

    start: int
    stop: int
    length: int
    overlap: int

    def widened(self, margin: int) -> tuple[int, int]:
        return max(self.start - margin, 0), min(self.stop + margin, self.length)

    @property
    def seen(self) -> tuple[int, int]:
        return self.widened(self.overlap)

    def painted(self) -> slice:
        """The part of what is seen that is painted."""
        start, stop = self.widened(PAINTING_MARGIN)
        return slice(start - self.seen[0], stop - self.seen[0])

    def kept(self, scale: int) -> slice:
        """The part of what is painted, enlarged `scale` times, that the tile answers for."""
        start = self.widened(PAINTING_MARGIN)[0]
        return slice((self.start - start) * scale, (self.stop - start) * scale)


class Upscaler:
    """A loaded network that enlarges whole pictures tile by tile.

    A tile's features are computed with all the surroundings that the network sees (at most its `most_overlap`), and
    only the inner part is painted and kept, so that no seam shows.
    """

    def __init__(self, network: UpscalingNetwork, device: str = "cpu") -> None:
        self._device = torch.device(device)
        in_half = self._device.type == "cuda" and network.runs_in_half
        self._dtype = torch.float16 if in_half else torch.float32
        self._network = network.eval().requires_grad_(False).to(self._device, self._dtype)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.overlap = min(network.receptive_radius, network.most_overlap)

    @property
    def scale(self) -> int:
        """The network's own scale."""
        return self._network.scale

    @torch.inference_mode()
    def upscale(self, pixels: NDArray[np.uint8], scale: int, tile_px: int | None = None) -> NDArray[np.uint8]:
        """Enlarge a picture `scale` times.

        A network of a smaller scale enlarges again what it has enlarged. What is larger than asked for is reduced,
        antialiased and bicubic. Colours are the picture's own; see `anchor_colours`.

        Args:
            pixels: uint8 RGB of shape (H, W, 3), any size from 1×1.
            tile_px: side of the inner part of a tile; chosen to keep within WORKING_BYTES if not given.
        Returns:
            uint8 RGB of shape (scale·H, scale·W, 3).
        Raises:
            PictureError: if the pixels are not such an array.
            ModelError: if the network does not enlarge.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise PictureError(f"pixels {pixels.dtype} of shape {pixels.shape}: uint8 of shape (H, W, 3) is needed.")
        if self.scale < 2:
            raise ModelError("the upscaling network does not enlarge: it is made to clean pictures.")
        done, enlarged = 1, pixels
        while done < scale:
            left = scale // done if scale % done == 0 else 0
            factor = left if left and self.scale % left == 0 else self.scale
            if done > 1 and done * factor > scale:  # the last pass begins with less, for memory's sake
                enlarged = _resized(enlarged, *(math.ceil(side * scale / factor) for side in pixels.shape[:2]))
            enlarged, done = self._upscaled(enlarged, factor, tile_px), done * factor
        return _resized(enlarged, *(side * scale for side in pixels.shape[:2]))

    def _upscaled(self, pixels: NDArray[np.uint8], scale: int, tile_px: int | None) -> NDArray[np.uint8]:
        """Enlarge a picture by what the network's scale is a multiple of."""
        height, width = pixels.shape[:2]
        folded = self._network.unshuffle
        margin = folded * MARGIN_FEATURES
        sides = ((margin, margin - height % -folded), (margin, margin - width % -folded))
        padded = np.pad(pixels, (*sides, (0, 0)), mode="edge")
        result = np.empty((padded.shape[0] * scale, padded.shape[1] * scale, 3), np.uint8)
        feature_px = folded * scale
        for rows, columns in self._tiles(padded.shape[0], padded.shape[1], tile_px):
            place = tuple(slice(span.start * feature_px, span.stop * feature_px) for span in (rows, columns))
            result[place] = self._upscale_tile(padded, rows, columns, scale)
        start = margin * scale
        enlarged = result[start : start + height * scale, start : start + width * scale]
        anchor_colours(enlarged, pixels)
        return enlarged

    def _upscale_tile(self, pixels: NDArray[np.uint8], rows: _Span, columns: _Span, scale: int) -> NDArray[np.uint8]:
        folded = self._network.unshuffle
        top, bottom, left, right = (side * folded for side in (*rows.seen, *columns.seen))
        seen = torch.from_numpy(pixels[top:bottom, left:right].copy()).to(self._device, self._dtype) / 255
        features = self._network.understand(seen.permute(2, 0, 1)[None])  # channels stay last in memory
        painted = self._network.enlarge(features[:, :, rows.painted(), columns.painted()]).float().clamp(0, 1)
        if self.scale != scale:
            size = [side * scale // self.scale for side in painted.shape[2:]]
            painted = functional.interpolate(painted, size=size, mode="bicubic", antialias=True)
        kept = painted[0, :, rows.kept(folded * scale), columns.kept(folded * scale)]
        whole_steps = kept.clamp(0, 1).mul(255).round().to(torch.uint8)
        array: NDArray[np.uint8] = whole_steps.permute(1, 2, 0).cpu().numpy()
        return array

    def _tiles(self, height_px: int, width_px: int, tile_px: int | None) -> Iterator[tuple[_Span, _Span]]:
        folded = self._network.unshuffle
        inner = max((tile_px or self._affordable_px()) // folded, 1)
        for rows in _spans(height_px // folded, inner, self.overlap):
            for columns in _spans(width_px // folded, inner, self.overlap):
                yield rows, columns

    def _affordable_px(self) -> int:
        """The largest tile side whose widest layer, as often as it is copied, fits WORKING_BYTES."""
        network = self._network
        bytes_per_px = _COPIES_IN_FLIGHT * network.values_per_px * self._dtype.itemsize
        return math.isqrt(WORKING_BYTES // bytes_per_px) - 2 * PAINTING_MARGIN * network.unshuffle


def _spans(length: int, longest: int, overlap: int) -> Iterator[_Span]:
    """Cut a length into nearly equal parts of at most `longest`."""
    count = math.ceil(length / longest)
    cuts = [length * number // count for number in range(count + 1)]
    return (_Span(start, stop, length, overlap) for start, stop in pairwise(cuts))


def _resized(pixels: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height_px, width_px):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.BICUBIC))


def load_upscaler(path: Path, device: str = "cpu") -> Upscaler:
    """Return the upscaler of a weights file, loaded once per process, device and version of the file.

    Args:
        path: `.safetensors`, or `.pth` holding tensors only, in the layout of ESRGAN or Real-ESRGAN.
    Raises:
        ModelLoadError: if the file is missing, damaged or of another architecture.
    """
    path = path.resolve()
    try:
        digest = file_digest(path)
    except OSError as exc:
        raise ModelLoadError(f"upscaling network '{path.name}': no file {path}.") from exc
    return _load(path, digest, device)


@lru_cache(maxsize=4)
def _load(path: Path, digest: str, device: str) -> Upscaler:
    upscaler = Upscaler(read_network(path), device)
    if file_digest(path) != digest:
        raise ModelLoadError(f"upscaling network '{path.name}': its file changed while it was read. Try again.")
    return upscaler
