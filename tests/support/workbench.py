"""Slots run by hand, and diffusers' own pipelines to compare them with."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from configs.settings import PACKAGE_ROOT
from models.denoising.batch_sizes import BatchSizes
from models.denoising.passes import Denoiser
from models.denoising.samplers import make_scheduler
from models.denoising.slot import Slot
from models.denoising.unet_model import UNetModel
from models.image import BatchItem
from models.recipe import Recipe
from models.request import Mode, Sampler

NOISE = np.random.default_rng(0)
PICTURE = Image.fromarray(NOISE.integers(0, 256, (128, 128, 3), dtype=np.uint8))
EDGES = Image.fromarray((NOISE.random((128, 128)) > 0.8).astype(np.uint8) * 255).convert("RGB")
LEADING = (EDGES, PICTURE, EDGES.transpose(Image.Transpose.ROTATE_90))
"""Control pictures, in the order in which a recipe's ControlNets get them."""
MASK = Image.new("L", (128, 128))
MASK.paste(255, (16, 16, 48, 48))

BUILTIN = PACKAGE_ROOT / "models/builtin"

PIPELINES = {
    ("small", Mode.TEXT2IMG): StableDiffusionPipeline,
    ("small", Mode.IMG2IMG): StableDiffusionImg2ImgPipeline,
    ("small", Mode.INPAINT): StableDiffusionInpaintPipeline,
    ("small", Mode.CONTROLNET): StableDiffusionControlNetPipeline,
    ("v_prediction", Mode.TEXT2IMG): StableDiffusionPipeline,
    ("v_prediction", Mode.IMG2IMG): StableDiffusionImg2ImgPipeline,
    ("v_prediction", Mode.INPAINT): StableDiffusionInpaintPipeline,
    # Its latents have 8 channels, which diffusers' inpainting pipeline refuses.
    ("tiny", Mode.TEXT2IMG): StableDiffusionPipeline,
    ("tiny", Mode.IMG2IMG): StableDiffusionImg2ImgPipeline,
    ("tiny", Mode.CONTROLNET): StableDiffusionControlNetPipeline,
    ("small_xl", Mode.TEXT2IMG): StableDiffusionXLPipeline,
    ("small_xl", Mode.IMG2IMG): StableDiffusionXLImg2ImgPipeline,
    ("small_xl", Mode.INPAINT): StableDiffusionXLInpaintPipeline,
}
FOLDERS = {"small": "sd", "v_prediction": "v", "small_xl": "sdxl", "tiny": BUILTIN / "tiny"}
CONTROLNETS = {"small": "controlnet", "tiny": BUILTIN / "controlnet_canny"}
OPTIONS = {"safety_checker": None, "requires_safety_checker": False}


def make_item(mode=Mode.TEXT2IMG, *, model="small", seed=1, sampler=Sampler.EULER, side=64, **changes) -> BatchItem:
    fields = {
        "text": "a red shoe",
        "negative_text": "",
        "model": model,
        "release": "r",
        "engine": "eager/cpu/float32",
        "mode": mode,
        "width_px": side,
        "height_px": side,
        "steps": 4,
        "cfg_scale": 7.5,
        "sampler": sampler,
        "seed": seed,
        "lora_name": "",
        "lora_weight": 1.0,
        "lora_digest": "",
        "strength": 0.6 if mode in (Mode.IMG2IMG, Mode.INPAINT) else None,
        "image_digest": None,
        "mask_digest": None,
        "control_digest": None,
    }
    if mode is Mode.CONTROLNET and "controls" not in changes:
        fields["control_digest"] = "c" * 64
    recipe = Recipe(**{**fields, **changes})
    cut = {name: picture.crop((0, 0, side, side)) for name, picture in _inputs(mode).items()}
    controls = [picture.crop((0, 0, side, side)) for _, picture in zip(recipe.pinned_controls, LEADING, strict=False)]
    return BatchItem(recipe, **cut, controls=controls)


def _inputs(mode: Mode) -> dict[str, Image.Image]:
    return {
        Mode.TEXT2IMG: {},
        Mode.IMG2IMG: {"image": PICTURE},
        Mode.INPAINT: {"image": PICTURE, "mask": MASK},
        Mode.CONTROLNET: {},
    }[mode]


def _leading(item: BatchItem) -> dict[str, object]:
    """What diffusers is told of how ControlNets lead."""
    names = {
        "weight": "controlnet_conditioning_scale",
        "start": "control_guidance_start",
        "end": "control_guidance_end",
    }
    leads = item.recipe.pinned_controls
    told = {theirs: [getattr(lead, ours) for lead in leads] for ours, theirs in names.items()} | {
        "image": item.controls
    }
    return told if len(leads) > 1 else {name: values[0] for name, values in told.items()}


@torch.no_grad()
def _unlike(controlnet: ControlNetModel) -> ControlNetModel:
    """Another ControlNet for the same UNet."""
    other = copy.deepcopy(controlnet)
    random = torch.Generator().manual_seed(3)
    for parameter in other.parameters():
        parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=random))
    return other


class Loaded(dict[str, Any]):
    """What is loaded by its name when it is first asked for."""

    def __init__(self, load: Callable[[str], Any]) -> None:
        self._load = load

    def __missing__(self, name: str) -> Any:
        self[name] = self._load(name)
        return self[name]


class Workbench:
    """The random models and the built-in one as the engine steps them, and as diffusers runs them."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.models, self.pipelines = Loaded(self._step_model), Loaded(self._pipeline)

    def _pipeline(self, name: str) -> Any:
        options = {} if name == "small_xl" else OPTIONS
        kind = PIPELINES[name, Mode.TEXT2IMG]
        return kind.from_pretrained(self.folder / FOLDERS[name], dtype=torch.float32, **options)

    def _step_model(self, name: str) -> UNetModel:
        controlnets = {}
        if name in CONTROLNETS:
            controlnets[""] = ControlNetModel.from_pretrained(self.folder / CONTROLNETS[name])
            controlnets["other"] = _unlike(controlnets[""])
        return UNetModel(self.pipelines[name], controlnets, upcasts_vae=name == "small_xl")

    @torch.no_grad()
    def reference(self, item: BatchItem, **changes) -> torch.Tensor:
        """The final latents that diffusers' own pipeline gives."""
        recipe = item.recipe
        parts = dict(self.pipelines[recipe.model].components) | changes
        if recipe.mode is Mode.CONTROLNET:
            networks = [self.models[recipe.model].controlnets[lead.model] for lead in recipe.pinned_controls]
            parts["controlnet"] = networks[0] if len(networks) == 1 else networks
        options = {} if recipe.model == "small_xl" else {"requires_safety_checker": False}
        pipeline = PIPELINES[recipe.model, recipe.mode](**parts, **options)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = make_scheduler(recipe.sampler, self.models[recipe.model].schedule, recipe.steps)
        size = {"width": recipe.width_px, "height": recipe.height_px}
        inputs = {
            Mode.TEXT2IMG: size,
            Mode.IMG2IMG: {"image": item.image, "strength": recipe.strength},
            Mode.INPAINT: {"image": item.image, "mask_image": item.mask, "strength": recipe.strength, **size},
            Mode.CONTROLNET: {**size, **(_leading(item) if recipe.mode is Mode.CONTROLNET else {})},
        }[recipe.mode]
        return pipeline(
            recipe.text,
            negative_prompt=recipe.negative_text or None,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.cfg_scale,
            generator=torch.Generator().manual_seed(recipe.seed),
            output_type="latent",
            **inputs,
        ).images

    @torch.no_grad()
    def together(
        self,
        items: Sequence[BatchItem],
        *,
        joins: Sequence[int] = (),
        sizes: tuple[int, ...] | BatchSizes = (),
        model: UNetModel | None = None,
    ) -> list[torch.Tensor]:
        """Final latents of items that share their passes, item number n joining before step `joins[n]`."""
        model = model or self.models[items[0].recipe.model]
        denoiser = Denoiser(model, sizes if isinstance(sizes, BatchSizes) else BatchSizes(sizes))
        waiting = sorted(zip([*joins, *[0] * (len(items) - len(joins))], range(len(items)), strict=True))
        slots: dict[int, Slot] = {}
        for step in range(10_000):
            while waiting and waiting[0][0] <= step:
                place = waiting.pop(0)[1]
                slots[place] = model.start(items[place], "")
            running = [slot for slot in slots.values() if not slot.sampling.is_done]
            if not running and not waiting:
                break
            denoiser.step(running, _raise)
        return [slots[place].latents for place in range(len(items))]


def _raise(slot: Slot, exc: Exception) -> None:
    raise exc


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """‖Δ‖ / ‖reference‖."""
    return float((ours - theirs).norm() / theirs.norm())
