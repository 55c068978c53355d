"""The autoencoder: 8× down, 8 latent channels, trained on renders of every style and size.

It starts as an average-pooling / nearest-neighbour pyramid, which already reconstructs the coarse picture, so training
goes into edges at once. After training its latents are whitened: a linear map folded into the 1×1 convolutions around
the latents gives every channel zero mean, unit deviation and no correlation, which the diffusion model learns faster.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.dataset import Renders
from training.loop import Schedule, Trainer, Worker

LATENT_CHANNELS = 8
REFINING_CROP_PX = 96


def new_autoencoder(widths: tuple[int, ...] = (16, 32, 48, 64), side_px: int = 128) -> AutoencoderKL:
    """An untrained autoencoder, of 1 M parameters by default, that starts as an image pyramid."""
    vae = AutoencoderKL(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=side_px,
        scaling_factor=1.0,
    )
    start_as_pyramid(vae)
    return vae


@torch.no_grad()
def start_as_pyramid(vae: AutoencoderKL) -> None:
    """Set the weights so that coding is averaging, decoding is enlarging."""
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            module.weight.mul_(0.1)
        elif name.endswith("conv_shortcut"):
            nn.init.dirac_(module.weight)
        elif name.endswith("downsamplers.0.conv"):
            module.weight.zero_()
            for channel in range(module.weight.shape[0]):
                module.weight[channel, channel, :2, :2] = 0.25
        elif name.endswith("upsamplers.0.conv"):
            nn.init.dirac_(module.weight)
    for end in (vae.encoder, vae.decoder):
        nn.init.dirac_(end.conv_in.weight)
        nn.init.dirac_(end.conv_out.weight)
    for linear in (vae.quant_conv, vae.post_quant_conv):
        nn.init.dirac_(linear.weight)


def to_tensor(rgb: np.ndarray, device: torch.device) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(rgb)).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def train_autoencoder(
    worker: Worker, folder: Path, sources: list[tuple[Renders, float]], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train on the weighted sources and write ``vae.pt`` (state dict, whitened) into ``folder``."""
    torch.manual_seed(seed)
    vae = new_autoencoder().to(worker.device)
    rng = np.random.default_rng((seed, worker.rank))
    torch.manual_seed(seed + 1 + worker.rank)
    weights = np.array([weight for _, weight in sources])

    def loss_of(progress: float) -> Tensor:
        renders = sources[rng.choice(len(sources), p=weights / weights.sum())][0]
        crop = 64 if progress < 0.6 else None
        pictures = to_tensor(_crops(renders, batch * 3 if crop else batch, crop, rng), worker.device)
        posterior = vae.encode(pictures).latent_dist
        # A little noise on the latents makes the decoder forgive the diffusion model's small errors.
        latents = posterior.mode()
        spread = latents.detach().std(dim=(0, 2, 3), keepdim=True)
        rebuilt = vae.decode(latents + 0.05 * spread * torch.randn_like(latents)).sample
        loss: Tensor = reconstruction_loss(rebuilt, pictures) + 1e-4 * latents.square().mean()
        return loss

    Trainer("vae", vae, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        whiten(vae, sources[0][0])
        torch.save(vae.state_dict(), folder / "vae.pt")
        print(f"vae: {psnr(vae, sources[0][0]):.2f} dB", flush=True)


def refine_decoder(
    worker: Worker, folder: Path, sources: list[tuple[Renders, float]], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train the decoder on, with latents as they are, and write ``vae_refined.pt``: sharper pictures, same latents."""
    vae = load_autoencoder(folder, "vae.pt").to(worker.device)
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)
    rng = np.random.default_rng((seed, worker.rank))
    torch.manual_seed(seed + worker.rank)
    weights = np.array([weight for _, weight in sources])

    def loss_of(_progress: float) -> Tensor:
        renders = sources[rng.choice(len(sources), p=weights / weights.sum())][0]
        pictures = to_tensor(_crops(renders, batch, REFINING_CROP_PX, rng), worker.device)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mode()
        return reconstruction_loss(vae.decode(latents + 0.03 * torch.randn_like(latents)).sample, pictures)

    Trainer("decoder", decoder, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        torch.save(vae.state_dict(), folder / "vae_refined.pt")
        print(f"decoder: {psnr(vae, sources[0][0]):.2f} dB", flush=True)


def reconstruction_loss(rebuilt: Tensor, pictures: Tensor) -> Tensor:
    """L1 of the pixels, of the half-size picture and of the gradients: edges count more than their area."""
    loss = F.l1_loss(rebuilt, pictures) + 0.5 * F.mse_loss(rebuilt, pictures)
    loss = loss + F.l1_loss(F.avg_pool2d(rebuilt, 4), F.avg_pool2d(pictures, 4))
    for axis in (2, 3):
        loss = loss + F.l1_loss(rebuilt.diff(dim=axis), pictures.diff(dim=axis))
    return loss


def _crops(renders: Renders, count: int, side_px: int | None, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.integers(len(renders), size=count)
    if side_px is None:
        return renders.rgb[np.sort(chosen)]
    height, width = renders.rgb.shape[1:3]
    tops, lefts = rng.integers(height - side_px + 1, size=count), rng.integers(width - side_px + 1, size=count)
    return np.stack(
        [renders.rgb[n, t : t + side_px, x : x + side_px] for n, t, x in zip(chosen, tops, lefts, strict=True)]
    )


@torch.no_grad()
def whiten(vae: AutoencoderKL, renders: Renders, count: int = 512) -> None:
    """Fold into quant_conv and post_quant_conv the map that makes the latents of the renders white."""
    device = vae.device
    chunks = [to_tensor(renders.rgb[n : n + 32], device) for n in range(0, min(count, len(renders)), 32)]
    latents = torch.cat([vae.encode(chunk).latent_dist.mode() for chunk in chunks])
    flat = latents.permute(1, 0, 2, 3).flatten(1).double()
    mean, covariance = flat.mean(1), torch.cov(flat)
    values, vectors = torch.linalg.eigh(covariance)
    white = vectors @ torch.diag(values.clamp_min(1e-6).rsqrt()) @ vectors.T
    back = torch.linalg.inv(white)
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight, bias = quant.weight[:LATENT_CHANNELS, :, 0, 0].double(), quant.bias[:LATENT_CHANNELS].double()
    quant.weight[:LATENT_CHANNELS, :, 0, 0] = (white @ weight).float()
    quant.bias[:LATENT_CHANNELS] = (white @ (bias - mean)).float()
    weight = post.weight[:, :, 0, 0].double()
    post.bias += (weight @ mean).float()
    post.weight[:, :, 0, 0] = (weight @ back).float()
    # The encoder is used as a deterministic map: a log-variance of -30 is the smallest the layout allows.
    quant.weight[LATENT_CHANNELS:] = 0
    quant.bias[LATENT_CHANNELS:] = -30


@torch.no_grad()
def psnr(vae: AutoencoderKL, renders: Renders, count: int = 64) -> float:
    """Reconstruction quality in dB over the first pictures."""
    pictures = to_tensor(renders.rgb[:count], vae.device)
    rebuilt = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / F.mse_loss(rebuilt, pictures)))


def load_autoencoder(folder: Path, weights: str, untrained: AutoencoderKL | None = None) -> AutoencoderKL:
    """The trained autoencoder, frozen, in evaluation mode; one as `new_autoencoder` makes it if none is given."""
    vae = untrained or new_autoencoder()
    vae.load_state_dict(torch.load(folder / weights, weights_only=True, map_location="cpu"))
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def encode_renders(vae: AutoencoderKL, renders: Renders, device: torch.device, chunk: int = 32) -> Tensor:
    """Latents of all renders: (N, 8, H/8, W/8) float16 on the CPU."""
    vae.to(device)
    parts = []
    for start in range(0, len(renders), chunk):
        pictures = to_tensor(renders.rgb[start : start + chunk], device)
        parts.append(vae.encode(pictures).latent_dist.mode().half().cpu())
    return torch.cat(parts)
