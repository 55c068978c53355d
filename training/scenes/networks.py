"""The networks of the second generation, and the number format they are trained in."""

import time
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.tokenizer import MODEL_MAX_LENGTH
from training.unet import TextToLatents
from training.vae import LATENT_CHANNELS, start_as_pyramid

TEXT_WIDTH = 192


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder, 8× down, that starts as an image pyramid."""
    vae = AutoencoderKL(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=256,
        scaling_factor=1.0,
    )
    start_as_pyramid(vae)
    return vae


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder of three layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=MODEL_MAX_LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=TEXT_WIDTH,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet whose finest level, 32×32 for 256 px, has no attention: that is where the time would go."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def lay_out(network: nn.Module, device: torch.device) -> None:
    """Bring a network to its device, in the form that trains fastest there.

    On a CPU PyTorch's gradients of normalisation take six times as long with channels last, and those of its fused
    attention longer than plain products.
    """
    if isinstance(network, UNet2DConditionModel) and device.type == "cpu":
        network.set_attn_processor(AttnProcessor())
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network.to(device, memory_format=layout)  # type: ignore[call-overload]


def load_pair(folder: Path, weights: str | None) -> TextToLatents:
    """UNet and text encoder: trained, or with no `weights` the pretrained text encoder and a new UNet."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pair = TextToLatents(new_text_encoder(tokenizer), new_unet())
    if weights:
        pair.load_state_dict(torch.load(folder / weights, weights_only=True, map_location="cpu"))
    else:
        pair.encoder.load_state_dict(torch.load(folder / "text_encoder.pt", weights_only=True, map_location="cpu"))
    return pair


def load_autoencoder(folder: Path, weights: str) -> AutoencoderKL:
    """The trained autoencoder, frozen."""
    vae = new_autoencoder()
    vae.load_state_dict(torch.load(folder / weights, weights_only=True, map_location="cpu"))
    return vae.eval().requires_grad_(False)


def tokenized(tokenizer: CLIPTokenizer, texts: list[str], device: torch.device) -> Tensor:
    """(N, 77) token ids, padded and cut as Stable Diffusion pipelines do."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=MODEL_MAX_LENGTH, return_tensors="pt")
    return batch.input_ids.to(device)  # type: ignore[no-any-return]


@cache
def bfloat16_is_faster(device: str) -> bool:
    """Whether a convolution as the networks have them runs faster in bfloat16 here, by measurement."""
    layer = nn.Conv2d(128, 128, 3, padding=1).to(device)
    pictures = torch.randn(16, 128, 16, 16, device=device)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16), torch.no_grad():
            layer(pictures)
            began = time.process_time()
            for _ in range(10):
                layer(pictures)
            seconds[dtype] = time.process_time() - began
    return device == "cuda" or seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


def mixed_precision(device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 where that is faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_faster(device.type))


def save_whole(state: object, file: Path) -> None:
    """Write a file that is there whole or not at all."""
    part = file.with_suffix(".partial")
    torch.save(state, part)
    part.replace(file)
