"""The networks of the second generation, and the number format they are trained in."""

import time
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from training import text_encoder, vae
from training.unet import TextToLatents, new_unet

TEXT_WIDTH = 192


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder, 8× down, that starts as an image pyramid."""
    return vae.new_autoencoder((16, 32, 64, 96), side_px=256)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder of three layers."""
    return text_encoder.new_text_encoder(tokenizer, TEXT_WIDTH, layers=3, heads=6)


def lay_out(network: nn.Module, device: torch.device) -> None:
    """Bring a network to its device, in the form that trains fastest there.

    On a CPU PyTorch's gradients of normalisation take six times as long with channels last, and those of its fused
    attention longer than plain products.
    """
    if isinstance(network, UNet2DConditionModel) and device.type == "cpu":
        network.set_attn_processor(AttnProcessor())
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network.to(device, memory_format=layout)  # type: ignore[call-overload]


def load_pair(folder: Path) -> TextToLatents:
    """The pretrained text encoder, and a new UNet.

    Its finest level, 32×32 for 256 px, has no attention: that is where the time would go.
    """
    encoder = new_text_encoder(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    encoder.load_state_dict(torch.load(folder / "text_encoder.pt", weights_only=True, map_location="cpu"))
    return TextToLatents(encoder, new_unet(32, (64, 128, 192), (False, True, True), TEXT_WIDTH))


def load_autoencoder(folder: Path, weights: str) -> AutoencoderKL:
    """The trained autoencoder, frozen."""
    return vae.load_autoencoder(folder, weights, new_autoencoder())


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
