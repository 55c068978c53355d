"""The stages of the second generation's training, each over shards of pictures or latents in one folder."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.dataset import Renders
from training.loop import Schedule, Trainer, Worker
from training.scenes.captions import Shown, training_caption
from training.scenes.networks import (
    lay_out,
    load_autoencoder,
    load_pair,
    mixed_precision,
    new_autoencoder,
    new_text_encoder,
    save_whole,
)
from training.scenes.palette import BACKDROPS
from training.scenes.shards import COLOUR_NAMES, PRODUCTS, read_shard
from training.text_encoder import AttributeReader, tokenize
from training.unet import TEXT_DROPOUT, diffusion_loss, new_scheduler
from training.vae import psnr, reconstruction_loss, to_tensor, whiten

POOL_SHARDS, BATCHES_A_SHARD = 4, 120
CROP_PX, EARLY_CROP_PX = 128, 64
EARLY_CROPS, EARLY_SIZES = 0.6, 0.25
"""Shares of the autoencoder's and the UNet's training that see small crops and small pictures."""
EARLY_SIZE = "128x128"


def shown(label: np.ndarray) -> Shown:
    """What a picture with this row of labels shows."""
    product, colour, behind, shadow, close = (int(n) for n in label)
    return Shown(PRODUCTS[product], COLOUR_NAMES[colour], BACKDROPS[behind], bool(shadow), bool(close))


class Crops:
    """Random crops of pictures from a few shards at a time, one of which is exchanged now and then."""

    def __init__(self, folder: Path, seed: int, rank: int) -> None:
        self.files = sorted(folder.glob("*/*[0-9].npz"))
        self.rng = np.random.default_rng([seed, rank])
        self.pool = [read_shard(file).rgb for file in self.rng.choice(np.array(self.files), POOL_SHARDS)]
        self.drawn = 0

    def __call__(self, count: int, side_px: int) -> np.ndarray:
        """(count, side, side, 3) uint8, more often from where the pictures vary than from plain background."""
        self.drawn += 1
        if self.drawn % BATCHES_A_SHARD == 0:
            self.pool[self.rng.integers(POOL_SHARDS)] = read_shard(self.files[self.rng.integers(len(self.files))]).rgb
        return np.stack([self._crop(side_px) for _ in range(count)])

    def _crop(self, side_px: int) -> np.ndarray:
        pictures = self.pool[self.rng.integers(len(self.pool))]
        picture = pictures[self.rng.integers(len(pictures))]
        height, width = picture.shape[:2]
        side_px = min(side_px, height, width)
        tries = []
        for _ in range(2):
            top, left = self.rng.integers(height - side_px + 1), self.rng.integers(width - side_px + 1)
            tries.append(picture[top : top + side_px, left : left + side_px])
        return max(tries, key=lambda crop: float(crop[::4, ::4].std()))


def train_autoencoder(worker: Worker, folder: Path, schedule: Schedule, batch: int, seed: int) -> None:
    """Train the autoencoder on crops and write ``vae.pt``, its latents whitened."""
    torch.manual_seed(seed)
    vae = new_autoencoder()
    lay_out(vae, worker.device)
    trainer = Trainer("vae", vae, schedule, worker, folder)
    crops = Crops(folder / "renders", seed + trainer.step, worker.rank)
    torch.manual_seed(seed + 1 + worker.rank + trainer.step)

    def loss_of(progress: float) -> Tensor:
        seen = crops(2 * batch, EARLY_CROP_PX) if progress < EARLY_CROPS else crops(batch, CROP_PX)
        pictures = to_tensor(seen, worker.device)
        with mixed_precision(worker.device):
            latents = vae.encode(pictures).latent_dist.mode()
            # A little noise on the latents makes the decoder forgive the diffusion model's small errors.
            spread = latents.detach().std(dim=(0, 2, 3), keepdim=True)
            rebuilt = vae.decode(latents + 0.05 * spread * torch.randn_like(latents)).sample
        loss: Tensor = reconstruction_loss(rebuilt.float(), pictures) + 1e-4 * latents.float().square().mean()
        return loss

    trainer.run(loss_of)
    if worker.is_first:
        shard = read_shard(crops.files[0])
        sample = Renders(shard.rgb, shard.labels)
        whiten(vae, sample, len(sample))
        print(f"vae: {psnr(vae, sample):.2f} dB", flush=True)
        save_whole(vae.state_dict(), folder / "vae.pt")


def refine_decoder(worker: Worker, folder: Path, schedule: Schedule, batch: int, seed: int) -> None:
    """Train the decoder on, with latents as they are, and write ``vae_refined.pt``."""
    vae = load_autoencoder(folder, "vae.pt").to(worker.device)
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)
    trainer = Trainer("decoder", decoder, schedule, worker, folder)
    crops = Crops(folder / "renders", seed + 7 + trainer.step, worker.rank)

    def loss_of(_progress: float) -> Tensor:
        pictures = to_tensor(crops(batch, CROP_PX), worker.device)
        with mixed_precision(worker.device):
            with torch.no_grad():
                latents = vae.encode(pictures).latent_dist.mode()
            rebuilt = vae.decode(latents + 0.03 * torch.randn_like(latents)).sample
        return reconstruction_loss(rebuilt.float(), pictures)

    trainer.run(loss_of)
    if worker.is_first:
        save_whole(vae.state_dict(), folder / "vae_refined.pt")


@torch.no_grad()
def encode_shard(vae: AutoencoderKL, file: Path, target: Path, device: torch.device, half: bool = False) -> None:
    """Latents (N, 8, H/8, W/8) float16 and labels of one shard, of pictures of half the side if `half`."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shard = read_shard(file)
    parts = []
    for start in range(0, len(shard.rgb), 16):
        pictures = to_tensor(shard.rgb[start : start + 16], device)
        pictures = F.interpolate(pictures, scale_factor=0.5, mode="area") if half else pictures
        with mixed_precision(device):
            parts.append(vae.encode(pictures).latent_dist.mode().half().cpu())
    save_whole({"latents": torch.cat(parts), "labels": torch.from_numpy(shard.labels)}, target)


def pretrain_text_encoder(worker: Worker, folder: Path, schedule: Schedule, batch: int, seed: int) -> None:
    """Train the text encoder on captions alone and write ``text_encoder.pt``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    reader = AttributeReader(new_text_encoder(tokenizer), PRODUCTS, COLOUR_NAMES, BACKDROPS).to(worker.device)
    trainer = Trainer("text_encoder", reader, schedule, worker, folder)
    rng = random.Random(f"{seed}/{worker.rank}/{trainer.step}")

    def loss_of(_progress: float) -> Tensor:
        white = BACKDROPS.index("white")
        labels = [
            (
                rng.randrange(len(PRODUCTS)),
                rng.randrange(len(COLOUR_NAMES)),
                white if rng.random() < 0.35 else rng.randrange(len(BACKDROPS)),
            )
            for _ in range(batch)
        ]
        texts = [
            training_caption(shown(np.array([*label, rng.random() < 0.86, rng.random() < 0.08])), rng)
            for label in labels
        ]
        logits = reader(tokenize(tokenizer, texts, worker.device))
        targets = torch.tensor(labels, device=worker.device).T
        return torch.stack([F.cross_entropy(x, y) for x, y in zip(logits, targets, strict=True)]).sum()

    trainer.run(loss_of)
    if worker.is_first:
        save_whole(reader.encoder.state_dict(), folder / "text_encoder.pt")


@dataclass(frozen=True)
class LatentSet:
    """Latents of one size; `weight` is how often batches come from here."""

    name: str
    latents: Tensor
    labels: np.ndarray
    weight: float


def load_latents(folder: Path, weights: dict[str, float]) -> list[LatentSet]:
    """The cached latents of each size, in memory as float16."""
    sets = []
    for size, weight in weights.items():
        stored = [torch.load(file, weights_only=True) for file in sorted((folder / "latents" / size).glob("*.pt"))]
        if stored:
            labels = torch.cat([part["labels"] for part in stored]).numpy()
            sets.append(LatentSet(size, torch.cat([part["latents"] for part in stored]), labels, weight))
    return sets


def batches(
    sets: list[LatentSet], batch: int, worker: Worker, seed: int, step: int
) -> Iterator[tuple[Tensor, list[str]]]:
    """Endless (latents, captions); those of a batch of one size, `batch` of the first set's, fewer larger ones."""
    mine, shared = np.random.default_rng([seed, worker.rank, step]), np.random.default_rng([seed, step])
    text = random.Random(f"{seed}/{worker.rank}/{step}")
    shares = np.array([part.weight for part in sets])
    base = sets[0].latents.shape[-1] * sets[0].latents.shape[-2]
    while True:
        # Every worker draws from the same set, so that none waits for another's larger pictures.
        source = sets[shared.choice(len(sets), p=shares / shares.sum())]
        area = source.latents.shape[-1] * source.latents.shape[-2] / base
        chosen = mine.integers(len(source.labels), size=max(1, min(2 * batch, round(batch / area))))
        captions = [
            "" if text.random() < TEXT_DROPOUT else training_caption(shown(source.labels[n]), text) for n in chosen
        ]
        yield source.latents[torch.from_numpy(chosen)].float().to(worker.device), captions


def train_unet(
    worker: Worker, folder: Path, weights: dict[str, float], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train UNet and text encoder together on the cached latents and write ``unet.pt``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = load_pair(folder).to(worker.device)
    lay_out(pair.unet, worker.device)
    scheduler = new_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(worker.device)
    trainer = Trainer("unet", pair, schedule, worker, folder)
    torch.manual_seed(seed + 1000 * trainer.step + worker.rank)
    sets = load_latents(folder, weights)
    small = [part for part in sets if part.name == EARLY_SIZE] or sets
    early = batches(small, 2 * batch, worker, seed, trainer.step)
    drawn = batches(sets, batch, worker, seed, trainer.step)

    def loss_of(progress: float) -> Tensor:
        latents, captions = next(early if progress < EARLY_SIZES else drawn)
        with mixed_precision(worker.device):
            context = pair.encoder(tokenize(tokenizer, captions, worker.device)).last_hidden_state
            return diffusion_loss(pair.unet, scheduler, latents, context)

    trainer.run(loss_of)
    if worker.is_first:
        save_whole(pair.state_dict(), folder / "unet.pt")
