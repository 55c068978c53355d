"""Which LoRA is active in a pipeline, changed between two denoising steps."""

import warnings
from collections import OrderedDict
from typing import Any

from foundation.errors import told
from models.denoising.memory import is_out_of_memory
from models.digests import file_digest
from models.errors import ModelError, ModelLoadError
from models.families.base import LoraUse
from models.families.lora_weights import read_lora

_KEPT = 4
"""LoRAs kept loaded beside each other, so that changing between them is quick."""


class LoraSwitch:
    """The LoRAs of one pipeline: at most one is active, and without one the weights are untouched."""

    def __init__(self, pipeline: Any, model: str) -> None:
        self._pipeline = pipeline
        self._model = model
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._active: LoraUse | None = None

    def use(self, lora: LoraUse | None) -> None:
        """Have exactly this LoRA active, at its weight; ModelLoadError if it does not fit the model."""
        if lora == self._active:
            return
        if lora is None:
            self._pipeline.disable_lora()
        else:
            self._activate(lora)
        self._active = lora

    def _activate(self, lora: LoraUse) -> None:
        if lora.adapter not in self._loaded:
            self._load(lora)
        self._loaded.move_to_end(lora.adapter)
        self._pipeline.enable_lora()
        self._pipeline.set_adapters([lora.adapter], [lora.weight])

    def _load(self, lora: LoraUse) -> None:
        if len(self._loaded) >= _KEPT:
            self._pipeline.delete_adapters(self._loaded.popitem(last=False)[0])
        try:
            weights = read_lora(lora.path)
            self._hand_over(lora, weights)
            wanted, found = len(weights) // 2, self._layers_of(lora.adapter)
            if found != wanted:
                raise ModelError(f"{found} of its {wanted} layers belong to this model. Use one made for its base.")
            if lora.digest and file_digest(lora.path) != lora.digest:
                raise ModelError("its file was replaced while it was loaded. Ask again")
        except Exception as exc:
            # Some of it may be in; the others are loaded again when they are next asked for.
            self._pipeline.unload_lora_weights()
            self._loaded.clear()
            self._active = None
            if is_out_of_memory(exc):
                raise
            raise ModelLoadError(f"LoRA '{lora.path.name}' does not fit model '{self._model}': {told(exc)}") from exc
        self._loaded[lora.adapter] = None

    def _layers_of(self, adapter: str) -> int:
        """Layers of all networks that the adapter changes."""
        networks = [part for part in self._pipeline.components.values() if hasattr(part, "named_modules")]
        return sum(adapter in getattr(layer, "lora_A", ()) for network in networks for layer in network.modules())

    def _hand_over(self, lora: LoraUse, weights: dict[str, Any]) -> None:
        with warnings.catch_warnings():
            # Several adapters in one model are what we want; at most one of them is active.
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            self._pipeline.load_lora_weights(weights, adapter_name=lora.adapter)
