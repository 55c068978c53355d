"""Which adapters are in a model's weights, changed between two denoising steps."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from foundation.errors import told
from models.adapters.adapted_weights import AdaptedWeights, Place
from models.adapters.adapter import Adapter, read_adapter
from models.adapters.adapter_file import adapter_digest
from models.adapters.layer_change import LayerChange
from models.adapters.layer_index import LayerIndex, Layers
from models.adapters.tensor_names import LayerName
from models.denoising.memory import is_out_of_memory
from models.digests import file_digest
from models.errors import ModelError, ModelLoadError
from models.lora import LoraUse, lora_keys

_READ = 8
"""Files kept as they were read, so that another weight of one, or others beside it, are quickly there."""


class _Use(NamedTuple):
    """One adapter's change of a layer, or of several that its file has joined."""

    lora: LoraUse
    change: LayerChange
    layers: Layers


class AdapterSwitch:
    """The adapters of one pipeline: merged into its weights, and without any the weights are its own.

    What several add is summed, each for itself and from the model's own weights, so that their order is nothing.

    Args:
        pipeline: diffusers' pipeline that holds the networks.
        model: its name, for errors.
        in_place: see `AdaptedWeights`.
        room_bytes: see `AdaptedWeights`.
    """

    def __init__(self, pipeline: Any, model: str, *, in_place: bool, room_bytes: int) -> None:
        self._index = LayerIndex(pipeline)
        self._model = model
        self._weights = AdaptedWeights(in_place=in_place, room_bytes=room_bytes)
        self._read: OrderedDict[tuple[Path, str], Adapter] = OrderedDict()
        self._active: tuple[LoraUse, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Memory that adapters take on the model's device."""
        return self._weights.size_bytes

    def use(self, loras: Sequence[LoraUse]) -> None:
        """Have exactly these active, at their weights; ModelLoadError, and none active, if one does not fit."""
        wanted = tuple(sorted(loras, key=lambda lora: lora.key))
        if wanted == self._active:
            return
        self._active = ()
        self._weights.use_own()
        if wanted and not self._merge(wanted, again=True):
            # Outside of the except block, whose traceback holds what was merged so far.
            self._weights.forget()
            self._merge(wanted)
        self._active = wanted

    def _merge(self, loras: tuple[LoraUse, ...], *, again: bool = False) -> bool:
        """Whether it was done; a lack of memory is raised unless it is to be tried again."""
        try:
            self._weights.use(lora_keys(loras), lambda: self._merged(loras))
        except Exception as exc:
            if not (again and is_out_of_memory(exc)):
                raise
            return False
        return True

    def _merged(self, loras: tuple[LoraUse, ...]) -> dict[Place, Tensor]:
        places: dict[Place, list[_Use]] = {}
        for lora in loras:
            try:
                for name, change in self._adapter(lora).changes.items():
                    layers = self._layers(name)
                    for module, which in product(layers, change.changes):
                        places.setdefault((module, which), []).append(_Use(lora, change, layers))
            except Exception as exc:
                raise self._unfit(lora, exc) from exc
        return {place: self._sum(place, changes) for place, changes in places.items()}

    def _layers(self, name: LayerName) -> Layers:
        if not (layers := self._index.find(name)):
            network = f"{name.part}." if name.part else ""
            raise ModelError(f"the model has no layer {network}{name.flat[:90]}. Use one made for its base.")
        return layers

    @torch.no_grad()
    def _sum(self, place: Place, uses: list["_Use"]) -> Tensor:
        total: Tensor | float = 0.0
        for use in uses:
            try:
                own = self._weights.own(place)
                total = total + use.lora.weight * self._change(use, place)
            except Exception as exc:
                raise self._unfit(use.lora, exc) from exc
        return torch.empty_like(own).copy_(own.float() + total)

    def _change(self, use: "_Use", place: Place) -> Tensor:
        """What is added to a layer, cut out of the change where the file has it joined with others."""
        module, which = place
        own = [self._weights.own((layer, which)) for layer in use.layers]
        changed = use.change.of(which, torch.cat(own) if len(own) > 1 else own[0])
        return torch.split(changed, [len(one) for one in own])[use.layers.index(module)]

    def _adapter(self, lora: LoraUse) -> Adapter:
        key = (lora.path, lora.digest)
        if key not in self._read:
            adapter = read_adapter(lora.path)
            if lora.digest and adapter_digest(lora.path, file_digest) != lora.digest:
                raise ModelError("its file was replaced while it was loaded. Ask again")
            self._read[key] = adapter
            if len(self._read) > _READ:
                self._read.popitem(last=False)
        self._read.move_to_end(key)
        return self._read[key]

    def _unfit(self, lora: LoraUse, exc: Exception) -> Exception:
        if is_out_of_memory(exc):
            return exc
        return ModelLoadError(f"LoRA '{lora.path.name}' does not fit model '{self._model}': {told(exc)}")
