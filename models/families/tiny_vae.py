"""Tiny VAEs (TAESD) that draw previews."""

from pathlib import Path
from typing import Any

from diffusers import AutoencoderTiny

from foundation.error_text import cause_text
from models.errors import ModelLoadError
from models.model_files import part_variant


def load_tiny_vae(folder: Path, vae: Any) -> Any:
    """The tiny VAE of a folder in the diffusers layout, beside a model's own. ModelLoadError if it is none for it."""
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"preview_vae: {folder} is no folder in the diffusers layout, with a config.json")
    kind = AutoencoderTiny.load_config(str(folder), local_files_only=True).get("_class_name")
    if kind != "AutoencoderTiny":
        raise ModelLoadError(f"preview_vae: {folder.name} holds a {str(kind)[:60]}, not an AutoencoderTiny")
    options = {"use_safetensors": True, "variant": part_variant(folder), "local_files_only": True}
    try:
        tiny = AutoencoderTiny.from_pretrained(str(folder), dtype=vae.dtype, **options)
    except (OSError, ValueError, RuntimeError) as exc:
        raise ModelLoadError(f"preview_vae: {folder.name} cannot be loaded: {cause_text(exc)}") from exc
    given, wanted = tiny.config.latent_channels, vae.config.get("latent_channels") or vae.config.z_dim
    if given != wanted:
        raise ModelLoadError(f"preview_vae: {folder.name} takes latents of {given} channels, the model's have {wanted}")
    return tiny.to(vae.device)
