"""How an adapter changes the weight and the bias of one layer, in every published form.

LoRA: arXiv:2106.09685. LoHa: arXiv:2108.06098. LoKr and the Tucker forms: arXiv:2309.14859. DoRA: arXiv:2402.09353.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.adapters.tensor_names import Role
from models.errors import ModelError

_ON_BIAS = frozenset({Role.DIFF_BIAS, Role.UP_BIAS})


@dataclass(frozen=True, eq=False)
class LayerChange:
    """One layer's tensors, as they are in the file, and what its change is multiplied by."""

    tensors: Mapping[Role, Tensor]
    scale: float

    @property
    def changes(self) -> tuple[str, ...]:
        """Which of the layer's `weight` and `bias` are changed."""
        on_bias = self.tensors.keys() & _ON_BIAS
        has_weight = bool(self.tensors.keys() - _ON_BIAS - {Role.ALPHA})
        return (*(("weight",) if has_weight else ()), *(("bias",) if on_bias else ()))

    def of(self, which: str, own: Tensor) -> Tensor:
        """What is added to the layer's `weight` or `bias` at full strength, in float32 and its shape.

        Args:
            own: as the model has it without any adapter.
        Raises:
            ModelError: if the change is for a layer of another shape.
        """
        parts = {role: tensor.to(own.device, torch.float32) for role, tensor in self.tensors.items()}
        return self._of_bias(parts, own) if which == "bias" else self._of_weight(parts, own.float())

    def _of_weight(self, parts: Mapping[Role, Tensor], weight: Tensor) -> Tensor:
        change = self.scale * _in_shape(_raw_change(parts), weight)
        magnitude = _magnitude(parts, weight)
        return change if magnitude is None else _decomposed(weight + change, magnitude) - weight

    def _of_bias(self, parts: Mapping[Role, Tensor], bias: Tensor) -> Tensor:
        change = torch.zeros_like(bias, dtype=torch.float32)
        for role, scale in ((Role.DIFF_BIAS, 1.0), (Role.UP_BIAS, self.scale)):
            if role in parts:
                change += scale * _in_shape(parts[role], bias)
        return change


def rank_of(shapes: Mapping[Role, tuple[int, ...]]) -> int | None:
    """The rank of a layer's matrices; None where they are full."""
    ranked = (Role.DOWN, Role.HADA_W1_B, Role.LOKR_W2_B, Role.LOKR_W1_B)
    return next((shapes[role][0] for role in ranked if shapes.get(role)), None)


def _raw_change(parts: Mapping[Role, Tensor]) -> Tensor:
    try:
        return _product_of(parts)
    except RuntimeError as exc:  # PyTorch's, of matrices that do not go together
        shapes = ", ".join(f"{role} {_sides(tensor)}" for role, tensor in parts.items() if tensor.ndim)
        raise ModelError(f"the matrices of a layer do not go together: {shapes}") from exc


def _product_of(parts: Mapping[Role, Tensor]) -> Tensor:
    if Role.DOWN in parts:
        return _lora(parts)
    if Role.HADA_W1_A in parts:
        first = _product(parts[Role.HADA_W1_A], parts[Role.HADA_W1_B], parts.get(Role.HADA_T1))
        return first * _product(parts[Role.HADA_W2_A], parts[Role.HADA_W2_B], parts.get(Role.HADA_T2))
    if Role.LOKR_W1 in parts or Role.LOKR_W1_A in parts:
        return _lokr(parts)
    return parts[Role.DIFF]


def _lora(parts: Mapping[Role, Tensor]) -> Tensor:
    down, up = parts[Role.DOWN], parts[Role.UP].flatten(1)
    if (mid := parts.get(Role.MID)) is not None:
        return torch.einsum("or,rs...,si->oi...", up, mid, down.flatten(1))
    return up @ down.flatten(1)


def _product(left: Tensor, right: Tensor, core: Tensor | None) -> Tensor:
    """left @ right, or by LyCORIS's Tucker form the core's first side with left's first and its second with right's."""
    return left @ right if core is None else torch.einsum("ij...,ip,jr->pr...", core, left, right)


def _lokr(parts: Mapping[Role, Tensor]) -> Tensor:
    first = parts[Role.LOKR_W1] if Role.LOKR_W1 in parts else parts[Role.LOKR_W1_A] @ parts[Role.LOKR_W1_B]
    if Role.LOKR_W2 in parts:
        second = parts[Role.LOKR_W2]
    else:
        left, right, core = parts[Role.LOKR_W2_A], parts[Role.LOKR_W2_B], parts.get(Role.LOKR_T2)
        second = _product(left, right if core is not None else right.flatten(1), core)
    return torch.kron(first.reshape(*first.shape, *(1,) * (second.ndim - first.ndim)), second.contiguous())


def _in_shape(change: Tensor, weight: Tensor) -> Tensor:
    """Convolutions have their places folded into one side, or none of size 1."""
    if change.shape[0] != weight.shape[0] or change.numel() != weight.numel():
        raise ModelError(f"it is for a layer of {_sides(change)}, and the model's has {_sides(weight)}")
    return change.reshape(weight.shape)


def _sides(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape))


def _magnitude(parts: Mapping[Role, Tensor], weight: Tensor) -> Tensor | None:
    """A DoRA's magnitudes with the axes of the weight, of size 1 but the one that they are along.

    PEFT's are always along the outputs, in whatever shape; LyCORIS' and OneTrainer's along the axis that is not 1.
    """
    outputs = (weight.shape[0], *(1,) * (weight.ndim - 1))
    magnitude, wanted = parts.get(Role.MAGNITUDE), outputs
    if magnitude is None:
        magnitude = parts.get(Role.DORA_SCALE)
        if magnitude is not None and magnitude.ndim > 1 and magnitude.shape[0] == 1:
            wanted = (1, weight.shape[1], *(1,) * (weight.ndim - 2))
    if magnitude is None:
        return None
    if magnitude.numel() != max(wanted):
        raise ModelError(f"it scales {magnitude.numel()} columns, and the model's layer has {max(wanted)}")
    return magnitude.reshape(wanted)


def _decomposed(weight: Tensor, magnitude: Tensor) -> Tensor:
    """The weight with its columns brought to the given lengths."""
    others = [axis for axis in range(weight.ndim) if magnitude.shape[axis] == 1]
    if magnitude.numel() == 1:
        others = list(range(weight.ndim))
    lengths = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    scaled: Tensor = weight * (magnitude / lengths.clamp_min(torch.finfo(torch.float32).tiny))
    return scaled
