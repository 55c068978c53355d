"""Writes `reference.json`: what spandrel's networks (MIT) make of weights and a picture that any program can draw.

`python -m tests.models.upscaling.reference`, with spandrel on the path. It wants torchvision, of which it needs nothing
for these networks: an empty stand-in does.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).with_name("reference.json")
EVERY = 37
"""Of the values of a result, one in so many is kept."""


def drawn(name: str, shape: list[int]) -> torch.Tensor:
    """The weights of a tensor: those of a kind that multiplies are near 1."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    fan_in = max(int(np.prod(shape[1:])), 1)
    scaled = 1 + 0.1 * values if len(shape) == 1 and name.endswith("weight") else values / np.sqrt(fan_in)
    return torch.from_numpy(np.asarray(scaled, np.float32))


def picture() -> torch.Tensor:
    """(1, 3, 16, 24) of range [0, 1]."""
    return torch.from_numpy(np.random.default_rng(5).random((1, 3, 16, 24), np.float32))


def weights_of(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """A file's tensors by their shapes; what is no weight is zeros."""
    fixed = ("relative_position_index", "attn_mask", "attn_mask_0", "attn_mask_1", "_SA", "_OCA", "tracked", "no_norm")
    return {
        name: torch.zeros(
            shape, dtype=torch.int64 if name.endswith(("index", "_SA", "_OCA", "tracked")) else torch.float32
        )
        if name.endswith(fixed)
        else _steps(shapes, name)
        if name.endswith("rpe_biases")
        else drawn(name, shape).abs()
        if name.endswith("running_var")
        else drawn(name, shape)
        for name, shape in shapes.items()
    }


def _steps(shapes: dict[str, list[int]], name: str) -> torch.Tensor:
    """The offsets of two places in a window of DAT, whose area is known, and how many they are."""
    area, count = shapes[name.replace("rpe_biases", "relative_position_index")][0], shapes[name][0]
    height = next(side for side in range(1, area + 1) if (2 * side - 1) * (2 * area // side - 1) == count)
    sides = (height, area // height) if "attns.0" in name else (area // height, height)
    steps = torch.meshgrid(*(torch.arange(1 - side, side) for side in sides), indexing="ij")
    return torch.stack(steps).flatten(1).T.float().contiguous()


def main() -> None:
    """Write the file."""
    from spandrel.architectures import DAT, ESRGAN, HAT, PLKSR, SPAN, Compact, SwinIR  # type: ignore[import-not-found]

    swin = {"img_size": 16, "window_size": 4, "embed_dim": 12, "num_heads": [3, 3], "depths": [2, 3], "mlp_ratio": 2}
    hat = {"compress_ratio": 3, "squeeze_factor": 6, "overlap_ratio": 0.5}
    dat = {"img_size": 16, "split_size": [2, 4], "embed_dim": 32, "depth": [4, 3], "num_heads": [4, 4]}
    networks: dict[str, Any] = {
        "compact_x2": Compact.Compact(num_feat=8, num_conv=2, upscale=2),
        "compact_x4": Compact.Compact(num_feat=6, num_conv=3, upscale=4),
        "span_x2": SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
        "span_x4_not_centred": SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=4, norm=False),
        "plksr_x4": PLKSR.PLKSR(dim=8, n_blocks=2, kernel_size=7, split_ratio=0.5),
        "plksr_x2_iccm": PLKSR.PLKSR(
            dim=8, n_blocks=2, upscaling_factor=2, ccm_type="ICCM", kernel_size=5, use_ea=False
        ),
        "plksr_x3_dccm": PLKSR.PLKSR(dim=8, n_blocks=1, upscaling_factor=3, ccm_type="DCCM", kernel_size=5),
        "real_plksr_x4": PLKSR.RealPLKSR(dim=8, n_blocks=2, kernel_size=7, layer_norm=True),
        "swinir_x4_nearest": SwinIR.SwinIR(**swin, upscale=4, upsampler="nearest+conv", resi_connection="3conv"),
        "swinir_x2": SwinIR.SwinIR(**swin, upscale=2, upsampler="pixelshuffle", resi_connection="1conv"),
        "swinir_x3": SwinIR.SwinIR(**swin, upscale=3, upsampler="pixelshuffle", resi_connection="1conv"),
        "swinir_x3_direct": SwinIR.SwinIR(**swin, upscale=3, upsampler="pixelshuffledirect", resi_connection="1conv"),
        "hat_x2": HAT.HAT(**swin | hat, upscale=2),
        "hat_x4": HAT.HAT(**swin | hat, upscale=4),
        "dat_x2": DAT.DAT(**dat, upscale=2),
        "dat_x3_light": DAT.DAT(**dat, upscale=3, upsampler="pixelshuffledirect", resi_connection="3conv"),
        "rrdb_x4": ESRGAN.ESRGAN(num_filters=8, num_blocks=2, scale=4),
    }
    found = {}
    for name, network in networks.items():
        state = network.eval().state_dict()
        fixed = ("index", "attn_mask", "_0", "_1", "_SA", "_OCA", "rpe_biases", "tracked")
        kept = {key: one for key, one in state.items() if key.endswith(fixed)}
        shapes = {key: list(one.shape) for key, one in state.items()}
        network.load_state_dict(weights_of(shapes) | kept)
        with torch.inference_mode():
            values = network(picture()).flatten()[::EVERY]
        found[name] = {"shapes": shapes, "values": [float(f"{value:.6g}") for value in values]}
    lines = (f"{json.dumps(name)}:{json.dumps(one, separators=(',', ':'))}" for name, one in found.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
