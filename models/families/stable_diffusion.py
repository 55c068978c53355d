"""Stable Diffusion 1.x and 2.x, with ControlNet: diffusers' parts, run by our own denoising loop."""

import gc
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from models.acceleration.tuning import tune
from models.batching.step_model import StepModel
from models.batching.stepper import Stepper
from models.errors import ModelLoadError
from models.families.base import LoraUse, StepFamily
from models.families.lora_switch import LoraSwitch
from models.families.weights import weights_bytes
from models.request import Mode

if TYPE_CHECKING:
    from models.placement import Placement
    from models.registry import ModelCard


class StableDiffusion(StepFamily):
    """A Stable Diffusion checkpoint in any mode."""

    pipelines: ClassVar[Any] = StableDiffusionPipeline
    pipeline_options: ClassVar[dict[str, object]] = {"safety_checker": None, "requires_safety_checker": False}
    controlnets: ClassVar[Any] = ControlNetModel
    upcasts_vae: ClassVar[bool] = False

    def __init__(self, card: "ModelCard", placement: "Placement") -> None:
        super().__init__(card, placement)
        self._stepper: Stepper | None = None
        self._loras: LoraSwitch | None = None
        self._size_bytes = 0

    @property
    def stepper(self) -> Stepper:
        """See `StepFamily`."""
        assert self._stepper, "not loaded"
        return self._stepper

    def load(self) -> None:
        """Load weights and controlnet to the device, from safetensors files only."""
        card, dtype = self.card, getattr(torch, self.placement.dtype)
        try:
            pipeline = self.pipelines.from_pretrained(
                str(card.path or card.source), **self._source(card.revision, card.path), **self.pipeline_options
            ).to(self.placement.device, dtype)
            controlnet = self._load_controlnet() if Mode.CONTROLNET in card.modes else None
            model = StepModel(pipeline, controlnet, upcasts_vae=self.upcasts_vae)
            self._stepper = Stepper(model, tune(model, self.placement.accelerator))
        except Exception as exc:  # hub, files and weights fail in many ways; all of them are this model's
            self.release()
            raise ModelLoadError(f"model '{card.name}' cannot be loaded from {card.source}: {exc}") from exc
        self._loras = LoraSwitch(pipeline, card.name)
        self._size_bytes = weights_bytes([*pipeline.components.values(), controlnet])

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return self._size_bytes

    def use_lora(self, lora: LoraUse | None) -> None:
        """See `StepFamily`."""
        assert self._loras, "not loaded"
        self._loras.use(lora)

    def release(self) -> None:
        """Drop every reference to the weights and return the device's memory."""
        if self._stepper:
            self._stepper.close()
        self._stepper = self._loras = None
        gc.collect()
        if self.placement.device != "cpu":
            torch.cuda.empty_cache()

    def _source(self, revision: str, path: object) -> dict[str, object]:
        return {
            "dtype": getattr(torch, self.placement.dtype),
            "use_safetensors": True,
            "local_files_only": path is not None,
            "revision": revision or None,
        }

    def _load_controlnet(self) -> Any:
        card = self.card
        source = self._source(card.controlnet_revision, card.controlnet_path)
        controlnet = self.controlnets.from_pretrained(str(card.controlnet_path or card.controlnet), **source)
        return controlnet.to(self.placement.device)
