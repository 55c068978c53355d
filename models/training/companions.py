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
from models.rrdb import RRDBNet
from models.training.dataset import Renders
from models.training.loop import Schedule, Trainer, Worker
from models.training.text_encoder import tokenize
from models.training.unet import BatchSampler, LatentSource, diffusion_loss, load_text_to_latents, new_scheduler
from models.training.vae import LATENT_CHANNELS

UPSCALER_SCALE = 4
REDUCTIONS = (*(Image.Resampling.BICUBIC,) * 3, Image.Resampling.LANCZOS, Image.Resampling.BOX)
LORA_RANK = 4
LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]


def new_upscaler() -> RRDBNet:
    """An RRDB network that starts as nearest-neighbour enlargement, so that training only adds to it."""
    network = RRDBNet(num_features=24, num_blocks=2, growth=12, scale=UPSCALER_SCALE)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d) and ".rdb" not in name:
                module.weight.mul_(0.1)
                if name != "conv_body":
                    for channel in range(min(module.weight.shape[:2])):
                        module.weight[channel, channel, 1, 1] += 1
                if module.bias is not None:
                    module.bias.zero_()
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
        large = large.to(worker.device)
        # The mean keeps flat areas at their tint.
        return F.l1_loss(rebuilt, large) + F.l1_loss(F.avg_pool2d(rebuilt, 16), F.avg_pool2d(large, 16))

    Trainer("upscaler", network, schedule, worker, folder).run(loss_of)
    if worker.is_first:
        save_file(_half(network), folder / "upscaler.safetensors")


def _upscaling_pairs(
    renders: Renders, count: int, rng: np.random.Generator, side_px: int = 128
) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, side, side) in [0, 1] and their copies at a quarter of the side, reduced in varied ways."""
    small, large = [], []
    for index in rng.integers(len(renders), size=count):
        height, width = renders.rgb.shape[1:3]
        top, left = (int(rng.integers((n - side_px) // 4 + 1)) * 4 for n in (height, width))
        crop = Image.fromarray(np.array(renders.rgb[index, top : top + side_px, left : left + side_px]))
        reduction = REDUCTIONS[rng.choice(len(REDUCTIONS))]
        reduced = crop.resize((side_px // UPSCALER_SCALE,) * 2, reduction)
        small.append(torch.from_numpy(np.array(reduced)))
        large.append(torch.from_numpy(np.array(crop)))
    return _unit(torch.stack(small)), _unit(torch.stack(large))


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
