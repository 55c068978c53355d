"""Small random Stable Diffusion models in the diffusers layout, built in seconds: real code, meaningless pictures."""

import json
from pathlib import Path
from typing import Any

from models.families.quiet_libraries import quiet_libraries

_TRAIN_STEPS = 1000
XL: dict[str, Any] = {
    "cross_attention_dim": 32 + 48,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 48,
}
"""What a UNet of Stable Diffusion XL has beyond others, for the two text encoders made here."""


def build_random_sd(folder: Path, *, seed: int = 0, zero_snr: bool = False) -> None:
    """Write a random Stable Diffusion pipeline (UNet 32/64 wide, f8 VAE) to `folder`.

    Args:
        seed: of the weights; equal seeds give equal files.
        zero_snr: give it the v-prediction, zero-terminal-SNR schedule of the built-in model.
    """
    quiet_libraries()
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    schedule = _zero_snr_schedule() if zero_snr else {}
    scheduler = DDIMScheduler(
        num_train_timesteps=_TRAIN_STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **schedule,
    )
    pipeline: Any = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(folder / "tokenizer"),
        unet=_unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def build_random_sdxl(folder: Path, *, seed: int = 4) -> None:
    """Write a random Stable Diffusion XL pipeline with two text encoders to `folder`."""
    quiet_libraries()
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    torch.manual_seed(seed)
    pipeline: Any = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(),
        text_encoder_2=_text_encoder(projected=True, width=48),
        tokenizer=_tokenizer(folder / "tokenizer"),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        unet=_unet(**XL),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def build_random_flux(folder: Path, *, seed: int = 6, guidance_embeds: bool = False) -> None:
    """Write a random Flux pipeline to `folder`: flow matching, sides in steps of 16 px, two text encoders.

    Args:
        guidance_embeds: guidance is an input, as of Flux.1 dev; schnell has none.
    """
    quiet_libraries()
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    t5 = T5Config(vocab_size=len(_vocabulary()), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    pipeline: Any = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=AutoencoderKL.from_config(_vae().config, scaling_factor=0.36, shift_factor=0.1),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(folder / "tokenizer"),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=guidance_embeds,
        ),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def build_random_controlnet(folder: Path, sd_folder: Path, *, seed: int = 1) -> None:
    """Write a random ControlNet that fits the model in `sd_folder`, with outputs that are not zero."""
    quiet_libraries()
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel.from_pretrained(sd_folder / "unet")
    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=10.0)
    controlnet.save_pretrained(folder, safe_serialization=True)


def build_random_lora(file: Path, sd_folder: Path, *, seed: int = 2, part: str = "unet") -> None:
    """Write a random LoRA (rank 4) for the model in `sd_folder`, strong enough to see.

    Args:
        part: whose attention it changes, `unet` or `text_encoder`.
    """
    quiet_libraries()
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils import get_peft_model_state_dict
    from transformers import CLIPTextModel

    torch.manual_seed(seed)
    kind, targets = {
        "unet": (UNet2DConditionModel, ["to_q", "to_k", "to_v", "to_out.0"]),
        "text_encoder": (CLIPTextModel, ["q_proj", "k_proj", "v_proj", "out_proj"]),
    }[part]
    network: Any = kind.from_pretrained(sd_folder / part)
    inject_adapter_in_model(LoraConfig(r=4, target_modules=targets, init_lora_weights=False), network)
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(network)}
    StableDiffusionPipeline.save_lora_weights(file.parent, weight_name=file.name, **layers)


def _zero_snr_schedule() -> dict[str, object]:
    return {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )


def little_unet(**options: Any) -> Any:
    """A random UNet with one block on each way, for what exports it: that takes as long as there are layers."""
    quiet_libraries()
    import torch

    torch.manual_seed(9)
    blocks = {"block_out_channels": (32,), "up_block_types": ("CrossAttnUpBlock2D",)}
    return _unet(**blocks, down_block_types=("CrossAttnDownBlock2D",), **options).eval()


def _unet(cross_attention_dim: int = 32, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    blocks = {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=8,
        norm_num_groups=8,
        **blocks | options,
    )


def _text_encoder(*, projected: bool = False, width: int = 32) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary = _vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def _vocabulary() -> dict[str, int]:
    """CLIP's alphabet: one printable character per byte, alone and at the end of a word, and the two marks."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(hidden))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}
