"""The UNet and the text encoder, trained together on cached latents: v-prediction, zero terminal SNR."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from training.captions import training_caption
from training.dataset import Renders
from training.loop import Schedule, Trainer, Worker
from training.text_encoder import WIDTH, new_text_encoder, tokenize
from training.vae import LATENT_CHANNELS

TEXT_DROPOUT = 0.1
"""Share of captions replaced by "" so that classifier-free guidance works (arXiv:2207.12598)."""


def new_unet(
    side: int = 16,
    widths: tuple[int, ...] = (64, 112, 144),
    attends: tuple[bool, ...] = (True, True, False),
    text_width: int = WIDTH,
) -> UNet2DConditionModel:
    """An untrained UNet in Stable Diffusion 1.x's layout, of 6 M parameters by default.

    Args:
        side: of the latents.
        attends: which levels attend to the text, the finest first.
    """
    kinds = ["CrossAttn" if one else "" for one in attends]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=widths,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        cross_attention_dim=text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Zero terminal SNR, v-prediction and trailing steps (arXiv:2305.08891)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


@dataclass(frozen=True)
class LatentSource:
    """Latents of renders and what they show; ``weight`` is how often batches come from here."""

    renders: Renders
    latents: Tensor
    weight: float


class TextToLatents(nn.Module):
    """The two networks trained together."""

    def __init__(self, encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.encoder, self.unet = encoder, unet


def load_text_to_latents(folder: Path) -> TextToLatents:
    """The trained pair; before it is trained, the pretrained text encoder and a new UNet."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = TextToLatents(new_text_encoder(tokenizer), new_unet())
    if (folder / "unet.pt").exists():
        pair.load_state_dict(torch.load(folder / "unet.pt", weights_only=True, map_location="cpu"))
    else:
        pair.encoder.load_state_dict(torch.load(folder / "text_encoder.pt", weights_only=True, map_location="cpu"))
    return pair


class BatchSampler:
    """Random (latents, captions) batches, all pictures of a batch from one source, hence of one size."""

    def __init__(self, sources: list[LatentSource], worker: Worker, seed: int) -> None:
        self.sources, self.device = sources, worker.device
        self.generator = np.random.default_rng((seed, worker.rank))
        self.shared = np.random.default_rng(seed)
        self.text = random.Random(f"{seed}/{worker.rank}")
        total = sum(source.weight for source in sources)
        self.shares = [source.weight / total for source in sources]

    def __call__(self, batch: int) -> tuple[Tensor, list[str], LatentSource, np.ndarray]:
        """Latents (N, 8, h, w) float32, N captions, their source and the indices of the pictures."""
        # Every worker draws from the same source, so that none waits for another's larger pictures.
        source = self.sources[self.shared.choice(len(self.sources), p=self.shares)]
        area = source.latents.shape[-1] * source.latents.shape[-2] / 256
        chosen = self.generator.integers(len(source.renders), size=max(1, round(batch / area)))
        latents = source.latents[torch.from_numpy(chosen)].float().to(self.device)
        captions = [
            "" if self.text.random() < TEXT_DROPOUT else training_caption(*source.renders.names(n), self.text)
            for n in chosen
        ]
        return latents, captions, source, chosen


def diffusion_loss(unet: Callable[..., Any], scheduler: DDIMScheduler, latents: Tensor, context: Tensor) -> Tensor:
    """Mean squared error of the predicted velocity at random times, stratified over the batch."""
    count = len(latents)
    steps = scheduler.config.num_train_timesteps
    strata = torch.rand(count, device=latents.device) + torch.arange(count, device=latents.device)
    times = (strata / count * steps).long()
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, times)
    predicted = unet(noisy, times, context).sample
    errors: Tensor = (predicted - scheduler.get_velocity(latents, noise, times)).square().mean(dim=(1, 2, 3))
    # Nearly clean latents teach little about shape and are the easiest: they count less.
    weights = (5.0 / compute_snr(scheduler, times)).clamp(max=1.0).sqrt()
    loss: Tensor = (errors * weights).mean()
    return loss


def train_unet(
    worker: Worker, folder: Path, sources: list[LatentSource], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train UNet and text encoder together and write ``unet.pt`` into ``folder``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = load_text_to_latents(folder).to(worker.device)
    scheduler = new_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(worker.device)
    sampler = BatchSampler(sources, worker, seed)
    trainer = Trainer("unet", pair, schedule, worker, folder)
    torch.manual_seed(seed + 1000 * trainer.step + worker.rank)

    def loss_of(_progress: float) -> Tensor:
        latents, captions, _, _ = sampler(batch)
        context = pair.encoder(tokenize(tokenizer, captions, worker.device)).last_hidden_state
        return diffusion_loss(pair.unet, scheduler, latents, context)

    trainer.run(loss_of)
    if worker.is_first:
        torch.save(pair.state_dict(), folder / "unet.pt")
