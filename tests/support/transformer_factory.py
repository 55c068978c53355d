"""Small random diffusion transformers in the published layouts, beside those of `model_factory`."""

import json
from pathlib import Path
from typing import Any

from models.families.quiet_libraries import quiet_libraries
from tests.support.model_factory import _text_encoder, _tokenizer, _vae, _vocabulary

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_random_sd3(folder: Path, *, seed: int = 8, with_t5: bool = True) -> None:
    """Write a random Stable Diffusion 3.5 pipeline with its three text encoders, or without the large one."""
    quiet_libraries()
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    t5 = T5Config(vocab_size=len(_vocabulary()), d_model=64, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    pipeline: Any = StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flow_vae(latent_channels=16),  # diffusers' inpainting asks for so many
        text_encoder=_text_encoder(projected=True),
        tokenizer=_tokenizer(folder / "tokenizer"),
        text_encoder_2=_text_encoder(projected=True),
        tokenizer_2=_tokenizer(folder / "tokenizer_2"),
        text_encoder_3=T5EncoderModel(t5) if with_t5 else None,
        tokenizer_3=_tokenizer(folder / "tokenizer_3") if with_t5 else None,
        transformer=SD3Transformer2DModel(
            sample_size=16,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=64,
            pos_embed_max_size=32,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def build_random_z_image(folder: Path, *, seed: int = 9) -> None:
    """Write a random Z-Image pipeline, whose tokenizer lays texts in a chat."""
    quiet_libraries()
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    encoder = Qwen3Config(
        vocab_size=len(_bytes_vocabulary()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    pipeline: Any = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flow_vae(),
        text_encoder=Qwen3Model(encoder),
        tokenizer=_qwen_tokenizer(folder / "tokenizer"),
        transformer=ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[4, 6, 6],
            axes_lens=[256, 64, 64],
        ),
    )
    _set_tokens_apart(pipeline.transformer)
    pipeline.save_pretrained(folder, safe_serialization=True)


def build_random_qwen_image(folder: Path, *, seed: int = 10) -> None:
    """Write a random Qwen-Image pipeline, with a VAE for video and a text encoder that also sees."""
    quiet_libraries()
    import torch
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    encoder = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(_bytes_vocabulary()),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
    )
    pipeline: Any = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, shift_terminal=0.02, max_shift=0.9, max_image_seq_len=8192
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.0, 0.3],
            latents_std=[1.5, 2.0, 1.0, 0.7],
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(encoder),
        tokenizer=_qwen_tokenizer(folder / "tokenizer"),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def _flow_vae(latent_channels: int = 4) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_config(
        _vae().config, scaling_factor=0.36, shift_factor=0.1, latent_channels=latent_channels
    )


def _set_tokens_apart(transformer: Any) -> None:
    """The tokens that fill rows up are not initialized, which a random model would not survive."""
    import torch

    for name, parameter in transformer.named_parameters():
        if name.endswith("pad_token"):
            torch.nn.init.normal_(parameter, std=0.02)


def _bytes_vocabulary() -> list[str]:
    letters = [token for token in _vocabulary() if not token.endswith("</w>") and not token.startswith("<|")]
    return [*letters, "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _qwen_tokenizer(folder: Path) -> Any:
    from transformers import Qwen2Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(_bytes_vocabulary())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = Qwen2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer
