"""The table of model families: each is one module with one class, registered here without importing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.request import Mode
from models.sampler import Sampler


@dataclass(frozen=True)
class FamilyEntry:
    """A family by its `module:Class`, and what its models can at most do; `by_step` for a `StepFamily`.

    Attributes:
        from_hub: what a card names by hub id is fetched before `load` is called.
        unused_parts: of a checkpoint on the hub, never fetched.
        native_side_px: of the square that its models are made for.
        parts: networks that a card may name files of their own for.
        multiple_px: the sides of pictures are multiples of it.
        takes_schedules: a request may say how steps lie over the noise levels.
        half_dtype: what `auto` takes on a GPU.
        is_unet: it is like Stable Diffusion: checkpoints in single files, prompts as `prompt_syntax: a1111`
            says, with embeddings and `clip_skip`, accelerators other than eager, and `step_cache` are known to it.
        mixes_sizes: requests of different sizes can share a pass.
    """

    target: str
    modes: frozenset[Mode]
    has_loras: bool = True
    max_batch_size: int | None = None
    by_step: bool = False
    from_hub: bool = False
    unused_parts: frozenset[str] = frozenset()
    native_side_px: int = 512
    parts: frozenset[str] = frozenset()
    multiple_px: int = 8
    samplers: tuple[Sampler, ...] = tuple(Sampler)
    takes_schedules: bool = True
    half_dtype: Literal["float16", "bfloat16"] = "float16"
    is_unet: bool = False
    mixes_sizes: bool = False


_LATENT_DIFFUSION: Mapping[str, Any] = {
    "modes": frozenset(Mode),
    "by_step": True,
    "is_unet": True,
    "from_hub": True,
    "unused_parts": frozenset({"safety_checker", "feature_extractor", "image_encoder"}),
}

_DIFFUSION_TRANSFORMER: Mapping[str, Any] = {
    "modes": frozenset({Mode.TEXT2IMG, Mode.IMG2IMG, Mode.INPAINT}),
    "by_step": True,
    "from_hub": True,
    "unused_parts": frozenset({"feature_extractor", "image_encoder"}),
    "native_side_px": 1024,
    "multiple_px": 16,
    "samplers": (Sampler.EULER, Sampler.DPMPP_2M, Sampler.UNIPC, Sampler.HEUN),
    "takes_schedules": False,
    "half_dtype": "bfloat16",
}


FAMILIES: Mapping[str, FamilyEntry] = {
    "sd": FamilyEntry(
        "models.families.stable_diffusion:StableDiffusion",
        parts=frozenset({"unet", "vae", "text_encoder"}),
        **_LATENT_DIFFUSION,
    ),
    "sdxl": FamilyEntry(
        "models.families.sdxl:StableDiffusionXL",
        native_side_px=1024,
        parts=frozenset({"unet", "vae", "text_encoder", "text_encoder_2"}),
        **_LATENT_DIFFUSION,
    ),
    "flux": FamilyEntry("models.families.flux:Flux", mixes_sizes=True, **_DIFFUSION_TRANSFORMER),
    "sd3": FamilyEntry("models.families.sd3:SD3", **_DIFFUSION_TRANSFORMER),
    "qwen_image": FamilyEntry("models.families.qwen_image:QwenImage", **_DIFFUSION_TRANSFORMER),
    "z_image": FamilyEntry("models.families.z_image:ZImage", mixes_sizes=True, **_DIFFUSION_TRANSFORMER),
    "diffusers": FamilyEntry(
        "models.families.any_diffusers:AnyDiffusers",
        frozenset({Mode.TEXT2IMG, Mode.IMG2IMG, Mode.INPAINT}),
        has_loras=False,
        max_batch_size=1,
        from_hub=True,
        parts=frozenset({"transformer", "unet", "vae"}),
    ),
}
