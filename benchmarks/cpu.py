"""One guided step, and decoding, on a CPU: ours against diffusers and against OpenVINO by its own choices.

Networks of full size with random weights, one after another in one memory; and the built-in model. No other work should
be on the machine: kinds do not take turns, since two of the largest networks would not fit beside each other.

`tiles` compares the peak memory and time of decoding in tiles with those in one piece, each in a process of its own.
Linux only: it can say a process's peak memory from a moment on.
"""

import math
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.processes import measured
from configs.settings import PACKAGE_ROOT
from models.acceleration.availability import computes_bfloat16
from models.acceleration.exact_rows import make_rows_exact
from models.acceleration.export import unet_inputs
from models.acceleration.openvino import OpenVINOUNet
from models.architectures import read_architecture
from models.denoising.tiles import decode_in_tiles

LIMITS = {
    "sd, ours / diffusers float32": 1 / 2.8,
    "sd, ours / best peer": 1.0,
    "sd, PSNR to float32 below 35 dB": 0.0,
} | {"memory, tiles of 512 px": 0.5, "memory, tiles of 256 px": 0.2, "time, tiles of 512 px": 2.5}
REPEATS = 3
_SIDE, _ROWS, _TOKENS = 64, 2, 77


def sd() -> dict[str, float]:
    """Stable Diffusion 1.5 at 512×512."""
    return _full_size("sd")


def sdxl() -> dict[str, float]:
    """Stable Diffusion XL at 512×512, about a quarter of its own size's work."""
    return _full_size("sdxl")


@torch.no_grad()
def builtin() -> dict[str, float]:
    """The built-in model at 128×128, in float32."""
    unet = UNet2DConditionModel.from_pretrained(PACKAGE_ROOT / "models/builtin/tiny/unet").eval()
    inputs = _inputs(unet, 16)
    steps: dict[str, float] = {}
    outputs: dict[str, torch.Tensor] = {}
    _time("diffusers float32", lambda: _step(unet, inputs), steps, outputs)
    make_rows_exact(unet.to(memory_format=torch.channels_last))
    _time("ours, eager", lambda: _step(unet, inputs), steps, outputs)
    _time_openvino(unet, inputs, steps, outputs)
    return _figures("builtin", steps, outputs)


@torch.no_grad()
def _full_size(name: str) -> dict[str, float]:
    parts = read_architecture(name)["parts"]
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(parts["unet"]["config"]).eval()
    inputs = _inputs(unet, _SIDE)
    steps: dict[str, float] = {}
    outputs: dict[str, torch.Tensor] = {}
    with FlopCounterMode(display=False) as counter:
        _step(unet, inputs)
    _time("diffusers float32", lambda: _step(unet, inputs), steps, outputs)
    if computes_bfloat16():
        unet.to(torch.bfloat16)
        _time("diffusers bfloat16", lambda: _step(unet, inputs), steps, outputs)
    unet.to(memory_format=torch.channels_last)
    _time("ours, eager", lambda: _step(unet, inputs), steps, outputs)
    _time_openvino(unet, inputs, steps, outputs)
    share = counter.get_total_flops() / steps["ours, eager"] / _matrix_flops(unet.dtype)
    return _figures(name, steps, outputs) | {f"{name}, share of the matrix limit": share} | _decoding(name, parts)


def _inputs(unet: Any, side: int) -> list[torch.Tensor]:
    drawn = [torch.randn_like(one) for one in unet_inputs(unet, _ROWS, side, side, _TOKENS)]
    return [drawn[0], torch.full((_ROWS,), 500.0), *drawn[2:]]


def _named(unet: Any, inputs: list[torch.Tensor]) -> dict[str, Any]:
    sample, times, states, *added = (one.to(unet.dtype) for one in inputs)
    further = dict(zip(("text_embeds", "time_ids"), added, strict=True)) if added else None
    return {"sample": sample, "timestep": times, "encoder_hidden_states": states, "added_cond_kwargs": further}


def _step(unet: Any, inputs: list[torch.Tensor]) -> torch.Tensor:
    output: torch.Tensor = unet(**_named(unet, inputs), return_dict=False)[0]
    return output.float()


def _time(
    name: str, compute: Callable[[], torch.Tensor], steps: dict[str, float], outputs: dict[str, torch.Tensor]
) -> None:
    outputs[name] = compute()
    spent = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        compute()
        spent.append(time.perf_counter() - began)
    steps[name] = statistics.median(spent)


def _time_openvino(
    unet: Any, inputs: list[torch.Tensor], steps: dict[str, float], outputs: dict[str, torch.Tensor]
) -> None:
    """Our accelerator; and the peer: the same graph as OpenVINO runs it where nobody tells it how."""
    openvino: Any = import_module("openvino")
    with TemporaryDirectory(prefix="imagegenx-") as folder:
        ours = OpenVINOUNet(unet, Path(folder), "random")
        named = _named(unet, inputs)
        _time("ours, openvino", lambda: ours(**named)[0].float(), steps, outputs)
        side = inputs[0].shape[2]
        graph = openvino.Core().read_model(ours.file((_ROWS, side, side, _TOKENS)))
        graph.reshape({place: list(one.shape) for place, one in enumerate(inputs)})
        peer = openvino.compile_model(graph, "CPU")
        given = [one.numpy() for one in inputs]
        _time("OpenVINO's own choice", lambda: torch.from_numpy(peer(given)[0].copy()), steps, outputs)


def _figures(name: str, steps: dict[str, float], outputs: dict[str, torch.Tensor]) -> dict[str, float]:
    full, own = steps["diffusers float32"], steps["ours, eager"]
    peers = [seconds for kind, seconds in steps.items() if not kind.startswith("ours")]
    psnr = _psnr(outputs["ours, eager"], outputs["diffusers float32"])
    figures = {f"{kind}, step s": seconds for kind, seconds in steps.items()}
    figures |= {"ours / diffusers float32": own / full, "ours / best peer": own / min(peers)}
    figures |= {"PSNR to float32, dB": psnr, "PSNR to float32 below 35 dB": max(0.0, 35 - psnr)}
    return {f"{name}, {figure}": value for figure, value in figures.items()}


def _psnr(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the network's output, whose range is its peak, dB."""
    error = float((given - expected).pow(2).mean())
    peak = float(expected.max() - expected.min())
    return 10 * math.log10(peak**2 / max(error, 1e-12))


def _decoding(name: str, parts: dict[str, Any]) -> dict[str, float]:
    vae = AutoencoderKL.from_config(parts["vae"]["config"]).eval()
    latents = torch.randn(1, 4, _SIDE, _SIDE)
    seconds: dict[str, float] = {}
    _time("diffusers float32", lambda: vae.decode(latents, return_dict=False)[0], seconds, {})
    vae.to(torch.bfloat16 if computes_bfloat16() else torch.float32).to(memory_format=torch.channels_last)
    _time("ours, eager", lambda: vae.decode(latents.to(vae.dtype), return_dict=False)[0], seconds, {})
    return {f"{name}, {kind}, decode s": one for kind, one in seconds.items()}


def _matrix_flops(dtype: torch.dtype) -> float:
    """What products of matrices reach here, the best of a few."""
    side = 4096
    one, other = (torch.randn(side, side, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        torch.mm(one, other)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


SIDE_PX, TILES_PX = 1024, (512, 256)
_PX_PER_LATENT = 8
_KB_PER_MB = 1024


def tiles() -> dict[str, float]:
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
    vae: Any = AutoencoderKL.from_config(read_architecture("sd")["parts"]["vae"]["config"])
    return vae.eval().to(memory_format=torch.channels_last)


def _status_mb(field: str) -> float:
    """A figure of this process, by its name in proc_pid_status(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / _KB_PER_MB
