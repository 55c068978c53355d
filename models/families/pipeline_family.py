"""Families whose parts one of diffusers' pipelines holds: what is done with them once they are loaded."""

import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import AutoencoderTiny

from foundation.error_text import cause_text
from models.adapters.adapter_switch import AdapterSwitch
from models.denoising.memory import return_memory, weights_bytes
from models.denoising.stepper import Stepper
from models.errors import ModelLoadError
from models.families.base import StepFamily
from models.lora import LoraUse
from models.model_files import part_variant

if TYPE_CHECKING:
    from models.card import ModelCard
    from models.placement import Placement


class PipelineFamily(StepFamily):
    """Adapters, memory and release; loading is the family's own."""

    def __init__(self, card: "ModelCard", placement: "Placement") -> None:
        super().__init__(card, placement)
        self._stepper: Stepper | None = None
        self._loras: AdapterSwitch | None = None
        self._size_bytes = 0

    @property
    def stepper(self) -> Stepper:
        """See `StepFamily`."""
        assert self._stepper, "not loaded"
        return self._stepper

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return self._size_bytes + (self._loras.size_bytes if self._loras else 0)

    def use_loras(self, loras: Sequence[LoraUse]) -> None:
        """See `StepFamily`."""
        assert self._loras, "not loaded"
        self._loras.use(loras)

    def release(self) -> None:
        """Drop every reference to the weights and return the device's memory."""
        if self._stepper:
            self._stepper.close()
        self._stepper = self._loras = None
        gc.collect()
        return_memory()

    def _begin(self, pipeline: Any, stepper: Stepper, others: Iterable[object] = ()) -> None:
        """Take the loaded parts over.

        Args:
            others: networks beside those of the pipeline.
        """
        if folder := self.card.preview_vae_path:
            tiny = _tiny_vae(folder, pipeline.vae)
            stepper.previewer.vae = tiny
            others = [*others, tiny]
        self._stepper = stepper
        self._size_bytes = weights_bytes([*pipeline.components.values(), *others])
        in_place = self.placement.accelerator == "compile"
        self._loras = AdapterSwitch(pipeline, self.card.name, in_place=in_place, room_bytes=self._size_bytes // 2)


def _tiny_vae(folder: Path, vae: Any) -> Any:
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
