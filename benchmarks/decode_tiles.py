"""Peak memory and time of decoding a picture in one piece against in tiles, with Stable Diffusion's full-size decoder.

Random weights, float32, on the CPU; each decode is in a process of its own. Linux only: it can say a process's peak
memory from a moment on.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.child import measured

SIDE_PX, TILES_PX = 1024, (512, 256)
LIMITS = {"memory, tiles of 512 px": 0.5, "memory, tiles of 256 px": 0.2, "time, tiles of 512 px": 2.5}
_PX_PER_LATENT = 8
_KB_PER_MB = 1024


def run() -> dict[str, float]:
    """Peak MB beyond the weights and seconds in one piece, and the shares of both that tiles take."""
    whole_mb, whole_s = measured(decoding, 0)
    figures = {"one piece, peak MB": whole_mb, "one piece s": whole_s}
    for tile in TILES_PX:
        tiles_mb, tiles_s = measured(decoding, tile)
        figures[f"memory, tiles of {tile} px"] = tiles_mb / whole_mb
        figures[f"time, tiles of {tile} px"] = tiles_s / whole_s
    return figures


def decoding(tile_px: int) -> tuple[float, float]:
    """Peak memory of a decode in MB, and its seconds; in one piece without tiles."""
    import torch

    from models.denoising.tiles import decode_in_tiles

    vae = _decoder()
    side = SIDE_PX // _PX_PER_LATENT
    with torch.no_grad():
        vae.decode(torch.randn(1, 4, 8, 8))
        latents = torch.randn(1, 4, side, side)
        Path("/proc/self/clear_refs").write_text("5")
        before_mb, began = _status_mb("VmRSS"), time.perf_counter()
        if tile_px:
            decode_in_tiles(vae, latents, tile_px // _PX_PER_LATENT, _PX_PER_LATENT)
        else:
            vae.decode(latents)
        took_s = time.perf_counter() - began
    return _status_mb("VmHWM") - before_mb, took_s


def _decoder() -> Any:
    """The VAE of Stable Diffusion 1.x, its memory laid out as the engine has it."""
    import torch
    from diffusers import AutoencoderKL

    from models.architectures import read_architecture, write_configuration

    with TemporaryDirectory() as folder:
        write_configuration(read_architecture("sd"), Path(folder))
        vae: Any = AutoencoderKL.from_config(AutoencoderKL.load_config(Path(folder) / "vae"))
    return vae.eval().to(memory_format=torch.channels_last)


def _status_mb(field: str) -> float:
    """A figure of this process, by its name in proc_pid_status(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / _KB_PER_MB
