"""The layers of a model's networks by every name that adapters have for them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch.nn import Module

from models.adapters.original_names import flux_names, original_names
from models.adapters.tensor_names import ENCODER, ENCODER_2, UNET, LayerName

Layers = tuple[Module, ...]

_ATTENTION = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
"""diffusers' first names for a text encoder's projections."""


class LayerIndex:
    """Finds the layer that an adapter's file means, dots and underscores being the same.

    Args:
        pipeline: of diffusers, with `unet` or `transformer`, `text_encoder` and perhaps `text_encoder_2`.
    """

    def __init__(self, pipeline: Any) -> None:
        networks = {part: getattr(pipeline, part, None) for part in (UNET, ENCODER, ENCODER_2)}
        networks[UNET] = networks[UNET] or getattr(pipeline, "transformer", None)
        self._layers: Mapping[str, Mapping[str, Layers]] = {
            part: _by_flat_name(network, part == UNET) for part, network in networks.items() if network is not None
        }

    def find(self, name: LayerName) -> Layers:
        """The layer, several where the file has them joined along their outputs.

        Empty if the model has none of the name, or several networks have where the file does not say which.
        """
        if name.part:
            return self._layers.get(name.part, {}).get(name.flat, ())
        found = [layers[name.flat] for layers in self._layers.values() if name.flat in layers]
        return found[0] if len(found) == 1 else ()


def _by_flat_name(network: Module, is_unet: bool) -> dict[str, Layers]:
    originals = original_names(network) if hasattr(network, "down_blocks") else {}
    layers: dict[str, Layers] = {}
    for name, module in network.named_modules():
        if getattr(module, "weight", None) is None:
            continue
        names = [name, *filter(None, [originals.get(name)])] if is_unet else _encoder_names(name)
        for known in names:
            layers[known.replace(".", "_")] = (module,)
            layers[re.sub(r"\.to_out\.0$", ".to_out", known).replace(".", "_")] = (module,)
    return layers | dict(_joined(network))


def _joined(network: Module) -> Iterator[tuple[str, Layers]]:
    if hasattr(network, "single_transformer_blocks"):
        modules = dict(network.named_modules())
        for name, parts in flux_names(network):
            if all(part in modules for part in parts):
                yield name.replace(".", "_"), tuple(modules[part] for part in parts)


def _encoder_names(name: str) -> Iterator[str]:
    """transformers has named the layers with and without `text_model`."""
    bare = name.removeprefix("text_model.")
    head, _, last = bare.rpartition(".")
    for known in (bare, f"{head}.{_ATTENTION[last]}") if last in _ATTENTION else (bare,):
        yield known
        yield f"text_model.{known}"
