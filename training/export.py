"""Write the trained networks as folders and files that diffusers loads, in half precision."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from training.judge import write_judge
from training.unet import load_text_to_latents, new_scheduler
from training.vae import load_autoencoder


def export_model(folder: Path, target: Path) -> None:
    """Assemble the pipeline from the trained parts in ``folder`` and write it to the folder ``target``."""
    pair = load_text_to_latents(folder)
    pipeline = StableDiffusionPipeline(
        vae=load_autoencoder(folder, "vae_refined.pt"),
        text_encoder=pair.encoder,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=pair.unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16)
    shutil.rmtree(target, ignore_errors=True)
    pipeline.save_pretrained(target, safe_serialization=True)
    # A newer transformers writes the whole tokenizer as one file too; the classic pair is all that any version needs.
    (target / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(folder / "tokenizer" / name, target / "tokenizer" / name)
    _tidy(target)


def _tidy(target: Path) -> None:
    """Remove from the configurations where this machine kept the parts, and let everyone read the files."""
    for file in filter(Path.is_file, target.rglob("*")):
        file.chmod(0o644)
    for file in target.rglob("*.json"):
        configuration = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(configuration, dict) and configuration.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


def export_companions(folder: Path, target: Path, styles: tuple[str, ...]) -> None:
    """Copy the upscaler, LoRAs and ControlNet, and write the judge, below the folder ``target``."""
    (target / "loras").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "upscaler.safetensors", target / "upscaler.safetensors")
    for style in styles:
        shutil.copyfile(folder / f"{style}.safetensors", target / "loras" / f"{style}.safetensors")
    shutil.rmtree(target / "controlnet_canny", ignore_errors=True)
    shutil.copytree(folder / "controlnet_canny", target / "controlnet_canny")
    write_judge(folder, target / "judge.safetensors")
    _tidy(target)
