"""A loaded adapter: the change of each layer, by the layer's name in the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from models.adapters.adapter_file import adapter_problem, read_layers
from models.adapters.layer_change import LayerChange, rank_of
from models.adapters.peft_settings import PeftSettings, read_settings
from models.adapters.tensor_names import LayerName, Role
from models.errors import ModelLoadError

_NO_SETTINGS = PeftSettings()


@dataclass(frozen=True, eq=False)
class Adapter:
    """What one file changes."""

    changes: Mapping[LayerName, LayerChange]

    @property
    def size_bytes(self) -> int:
        """Memory that its tensors take."""
        return sum(tensor.nbytes for change in self.changes.values() for tensor in change.tensors.values())


def read_adapter(file: Path) -> Adapter:
    """The adapter in a file, on the CPU, with every tensor of the file in use.

    Raises:
        ModelLoadError: if it is none that can be used as it is meant.
    """
    if problem := adapter_problem(file):
        raise ModelLoadError(problem)
    with safe_open(str(file), framework="pt") as opened:
        tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 no mapping
        settings = read_settings(file, opened.metadata() or {})
    return Adapter(
        {
            layer: _change(layer, {role: tensors[name] for role, name in names.items()}, settings)
            for layer, names in read_layers(tensors).items()
        }
    )


def _change(layer: LayerName, tensors: Mapping[Role, Tensor], settings: Mapping[str, PeftSettings]) -> LayerChange:
    rank = rank_of({role: tuple(tensor.shape) for role, tensor in tensors.items()})
    alpha = tensors.get(Role.ALPHA)
    if alpha is not None:
        return LayerChange(tensors, float(alpha) / rank if rank else 1.0)
    own = settings.get(layer.part) or settings.get("") or _NO_SETTINGS
    return LayerChange(tensors, 1.0 if Role.DIFF in tensors else own.scale(layer, rank))
