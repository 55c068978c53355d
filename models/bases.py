"""The base models that weights are made for, told by names and shapes of tensors alone."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Base(StrEnum):
    """A published architecture that checkpoints and adapters share."""

    SD1 = "Stable Diffusion 1.x"
    SD2 = "Stable Diffusion 2.x"
    SDXL = "Stable Diffusion XL"
    REFINER = "the refiner of Stable Diffusion XL"
    SD3 = "Stable Diffusion 3"
    FLUX = "Flux.1"
    FLUX2 = "Flux.2"
    CHROMA = "Chroma"
    QWEN = "Qwen-Image"
    Z_IMAGE = "Z-Image"
    LUMINA2 = "Lumina 2"
    AURAFLOW = "AuraFlow"
    PIXART = "PixArt"
    SANA = "Sana"
    CASCADE = "Stable Cascade"
    WAN = "Wan"
    HUNYUAN_VIDEO = "HunyuanVideo"
    LTX = "LTX-Video"


CONTEXT_WIDTHS: Mapping[int, Base] = {768: Base.SD1, 1024: Base.SD2, 2048: Base.SDXL, 1280: Base.REFINER}
"""The width of the text states that a UNet attends to."""

_MARKS: tuple[tuple[str, Base], ...] = (
    (r"distilled_guidance_layer", Base.CHROMA),
    (r"single_transformer_blocks[._]\d+[._]attn[._]to_qkv_mlp|double_stream_modulation", Base.FLUX2),
    (r"individual_token_refiner", Base.HUNYUAN_VIDEO),
    (r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]\d", Base.FLUX),
    (r"(^|[._])joint_blocks[._]\d", Base.SD3),
    (r"transformer_blocks[._]\d+[._](img_mod|img_mlp|txt_mod|txt_mlp)", Base.QWEN),
    (r"joint_transformer_blocks[._]\d|double_layers[._]\d", Base.AURAFLOW),
    (r"(^|[._])blocks[._]\d+[._](self_attn|cross_attn)[._](q|k|v|o)([._]|$)", Base.WAN),
    (r"scale_shift_table|adaln_single", Base.PIXART),
    (r"transformer_blocks[._]\d+[._]ff[._]conv_inverted|linear_transformer", Base.SANA),
    (r"lora_prior_unet|effnet_mapper|clip_txt_pooled_mapper", Base.CASCADE),
    (r"patchify_proj", Base.LTX),
)
_XL = r"te2_|text_encoder_2|clip_g[._]|label_emb|add_embedding|transformer_blocks[._][1-9][._]?\d?[._](attn|ff|norm)"
_UNET = re.compile(r"(^|[._])(down_blocks|mid_block|up_blocks|input_blocks|middle_block|output_blocks)[._]", re.M)


def base_of_names(names: Iterable[str]) -> Base | None:
    """The base that tensors' names alone speak of, dots or underscores between their parts."""
    text = "\n".join(names)
    for pattern, base in _MARKS:
        if re.search(pattern, text, re.MULTILINE):
            return base
    if _UNET.search(text) is None:
        return None
    return Base.SDXL if re.search(_XL, text) else None


_SAID = (
    (r"sdxl|stable-diffusion-xl", Base.SDXL),
    (r"sd_v2|stable-diffusion-v2|stable-diffusion-2", Base.SD2),
    (r"sd_v1|stable-diffusion-v1|^sd1", Base.SD1),
    (r"sd3|stable-diffusion-3|stable-diffusion-v3", Base.SD3),
    (r"flux-?\.?2", Base.FLUX2),
    (r"flux", Base.FLUX),
    (r"qwen", Base.QWEN),
    (r"z-?image", Base.Z_IMAGE),
    (r"chroma", Base.CHROMA),
    (r"hunyuan", Base.HUNYUAN_VIDEO),
    (r"wan", Base.WAN),
)


def base_said(metadata: Mapping[str, str]) -> Base | None:
    """The base that a file's trainer wrote into its header."""
    fields = ("ss_base_model_version", "modelspec.architecture")
    said = " ".join(metadata.get(field, "") for field in fields).lower()
    return next((base for pattern, base in _SAID if re.search(pattern, said)), None)
