"""What goes with the model: the 4× upscaler, the style LoRAs and the canny ControlNet."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from models.canny import canny_edges
from models.upscaling.rrdb import RRDBNet
from training.dataset import Renders
from training.loop import Schedule, Trainer, Worker
from training.text_encoder import tokenize
from training.unet import BatchSampler, LatentSource, diffusion_loss, load_text_to_latents, new_scheduler
from training.vae import LATENT_CHANNELS

UPSCALER_SCALE = 4
CROP_MARGIN_PX = 16
REDUCTIONS = (*(Image.Resampling.BICUBIC,) * 3, Image.Resampling.LANCZOS, Image.Resampling.BOX)
LORA_RANK = 4
LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]


def new_upscaler() -> RRDBNet:
    """An RRDB network that starts as bilinear enlargement, so that training only has to sharpen it.

    Bilinear enlargement by 2 is repetition of pixels and a tent filter; the colours take the first three channels.
    """
    network = RRDBNet(num_features=24, num_blocks=2, growth=12, scale=UPSCALER_SCALE)
    identity = torch.zeros(3, 3)
    identity[1, 1] = 1
    tent = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16
    filters = {"conv_first": identity, "conv_hr": identity, "conv_last": identity}
    filters |= dict.fromkeys(network.doublings, tent)
    with torch.no_grad():
        for name, module in network.named_children():
            if isinstance(module, nn.Conv2d):
                # Small random weights leave the other channels something to learn from, and the picture in peace.
                module.weight.mul_(0.5)
                module.weight[:3] *= 0.02
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
                if name in filters:
                    for channel in range(3):
                        module.weight[channel, channel] += filters[name]
    return network


def train_upscaler(
    worker: Worker, folder: Path, sources: list[Renders], schedule: Schedule, batch: int, seed: int
) -> None:
    """Train on large renders and their reduced copies; write ``upscaler.safetensors`` into ``folder``."""
    torch.manual_seed(seed)
    network = new_upscaler().to(worker.device)
    rng = np.random.default_rng((seed, worker.rank))

    def loss_of(_progress: float) -> Tensor:
        small, large = _upscaling_pairs(sources[rng.integers(len(sources))], batch, rng)
        rebuilt = network(small.to(worker.device))
        # What the zeros around a crop reach is left out: the upscaler gives every picture a margin.
        inner = (..., slice(CROP_MARGIN_PX, -CROP_MARGIN_PX), slice(CROP_MARGIN_PX, -CROP_MARGIN_PX))
        rebuilt, large = rebuilt[inner], large.to(worker.device)[inner]
        # Charbonnier's loss, and the means, which keep flat areas at their tint.
        error: Tensor = ((rebuilt - large).square() + 1e-4).sqrt().mean()
        return error + F.l1_loss(F.avg_pool2d(rebuilt, 16), F.avg_pool2d(large, 16))

    Trainer("upscaler", network, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        save_file(_half(network), folder / "upscaler.safetensors")


def _upscaling_pairs(
    renders: Renders, count: int, rng: np.random.Generator, side_px: int = 144
) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, side, side) in [0, 1] and their copies at a quarter of the side, reduced in varied ways."""
    small, large = [], []
    for index in rng.integers(len(renders), size=count):
        crop = Image.fromarray(_detailed_crop(renders.rgb[index], side_px, rng))
        reduction = REDUCTIONS[rng.choice(len(REDUCTIONS))]
        reduced = crop.resize((side_px // UPSCALER_SCALE,) * 2, reduction)
        small.append(torch.from_numpy(np.array(reduced)))
        large.append(torch.from_numpy(np.array(crop)))
    return _unit(torch.stack(small)), _unit(torch.stack(large))


def _detailed_crop(rgb: np.ndarray, side_px: int, rng: np.random.Generator, tries: int = 3) -> np.ndarray:
    """The most varied of a few random crops: most of a product picture is a plain background."""
    height, width = rgb.shape[:2]
    crops = []
    for _ in range(tries):
        top, left = (int(rng.integers((n - side_px) // UPSCALER_SCALE + 1)) * UPSCALER_SCALE for n in (height, width))
        crops.append(np.array(rgb[top : top + side_px, left : left + side_px]))
    return max(crops, key=lambda crop: float(crop[::4, ::4].std()))


def _unit(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2).float() / 255


def _half(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.half().contiguous().cpu() for name, value in module.state_dict().items()}


def train_lora(
    worker: Worker, folder: Path, style: str, source: LatentSource, schedule: Schedule, batch: int, seed: int
) -> None:
    """Train a LoRA of the UNet on renders of one style; write ``<style>.safetensors`` into ``folder``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = load_text_to_latents(folder).to(worker.device).requires_grad_(False)
    pair.unet.add_adapter(LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=LORA_TARGETS))
    scheduler = new_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(worker.device)
    sampler = BatchSampler([source], worker, seed)
    trainer = Trainer(f"lora_{style}", pair.unet, schedule, worker, folder)
    torch.manual_seed(seed + 1 + worker.rank)

    def loss_of(_progress: float) -> Tensor:
        latents, captions, _, _ = sampler(batch)
        context = pair.encoder(tokenize(tokenizer, captions, worker.device)).last_hidden_state
        return diffusion_loss(pair.unet, scheduler, latents, context)

    trainer.run(loss_of)
    if worker.is_first:
        layers = {name: value.half().contiguous().cpu() for name, value in get_peft_model_state_dict(pair.unet).items()}
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=f"{style}.safetensors")


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet without cross-attention (1.5 M parameters) that starts as a copy of the UNet's convolutions."""
    controlnet = ControlNetModel(
        in_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2D",
        block_out_channels=unet.config.block_out_channels,
        layers_per_block=unet.config.layers_per_block,
        cross_attention_dim=unet.config.cross_attention_dim,
        attention_head_dim=unet.config.attention_head_dim,
        norm_num_groups=unet.config.norm_num_groups,
        conditioning_embedding_out_channels=(8, 16, 32, 64),
    )
    own, theirs = controlnet.state_dict(), unet.state_dict()
    shared = {name: theirs[name] for name in own if name in theirs and own[name].shape == theirs[name].shape}
    controlnet.load_state_dict({**own, **shared})
    return controlnet


def train_controlnet(
    worker: Worker, folder: Path, source: LatentSource, schedule: Schedule, batch: int, seed: int
) -> None:
    """Train the canny ControlNet on renders and their edges; write the folder ``controlnet_canny``."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = load_text_to_latents(folder).to(worker.device).requires_grad_(False)
    controlnet = new_controlnet(pair.unet).to(worker.device)
    scheduler = new_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(worker.device)
    sampler = BatchSampler([source], worker, seed)
    trainer = Trainer("controlnet", controlnet, schedule, worker, folder)
    torch.manual_seed(seed + 1 + worker.rank)

    def loss_of(_progress: float) -> Tensor:
        latents, captions, _, chosen = sampler(batch)
        context = pair.encoder(tokenize(tokenizer, captions, worker.device)).last_hidden_state
        edges = np.stack([canny_edges(np.array(source.renders.rgb[n])) for n in chosen])
        control = _unit(torch.from_numpy(edges)).to(worker.device)

        def controlled(noisy: Tensor, times: Tensor, states: Tensor) -> object:
            down, middle = controlnet(noisy, times, states, controlnet_cond=control, return_dict=False)
            return pair.unet(
                noisy, times, states, down_block_additional_residuals=down, mid_block_additional_residual=middle
            )

        return diffusion_loss(controlled, scheduler, latents, context)

    trainer.run(loss_of)
    if worker.is_first:
        controlnet.half().save_pretrained(folder / "controlnet_canny")
