"""A model's weights under adapters: exchanged as a whole, and always made from the model's own."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from models.errors import ModelError

Place = tuple[Module, str]
"""A layer and which of its tensors: `weight` or `bias`."""

Changed = Mapping[Place, Tensor]


class AdaptedWeights:
    """The weights that differ from the model's own, for one state at a time.

    Going back to the model's own weights puts back the very tensors, so that nothing of an adapter stays.

    Args:
        in_place: the tensors must stay where they are in memory, as compiled graphs need them; else they are
            exchanged, which costs nothing.
        room_bytes: states are kept beside the one in use while they take less.
    """

    def __init__(self, *, in_place: bool, room_bytes: int) -> None:
        self._in_place = in_place
        self._room_bytes = room_bytes
        self._own: dict[Place, Tensor] = {}
        self._kept: OrderedDict[Hashable, Changed] = OrderedDict()
        self._current: Changed = {}

    @property
    def size_bytes(self) -> int:
        """Memory that is taken beside the model's own weights."""
        states = sum(_bytes(state) for state in self._kept.values())
        return states + (_bytes(self._own) if self._in_place else 0)

    def own(self, place: Place) -> Tensor:
        """A tensor of the model as it is without adapters; ModelError if the layer has none."""
        if place in self._own:
            return self._own[place]
        if (parameter := getattr(*place)) is None:
            raise ModelError(f"it changes a {place[1]} that the model's layer does not have")
        return parameter.data  # type: ignore[no-any-return]

    def use(self, key: Hashable, make: Callable[[], Changed]) -> None:
        """Bring the model to a state, which is made only if it is not kept from before."""
        if key not in self._kept:
            self._make_room(self._room_bytes)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        self._put(self._kept[key])
        self._make_room(self._room_bytes, besides=1)

    def use_own(self) -> None:
        """Bring the model back to its own weights."""
        self._put({})

    def forget(self) -> None:
        """Give back the memory of the states that are kept."""
        self.use_own()
        self._kept.clear()

    def _make_room(self, room_bytes: int, besides: int = 0) -> None:
        while len(self._kept) > besides and sum(map(_bytes, self._kept.values())) > room_bytes:
            self._kept.popitem(last=False)

    @torch.no_grad()
    def _put(self, state: Changed) -> None:
        for place in self._current.keys() - state.keys():
            self._set(place, self._own[place])
        for place, tensor in state.items():
            self._own.setdefault(place, self._saved(place))
            self._set(place, tensor)
        self._current = state

    def _saved(self, place: Place) -> Tensor:
        tensor: Tensor = getattr(*place).data
        return tensor.clone() if self._in_place else tensor

    def _set(self, place: Place, tensor: Tensor) -> None:
        parameter: Parameter = getattr(*place)
        if self._in_place:
            parameter.data.copy_(tensor)
        else:
            parameter.data = tensor


def _bytes(state: Changed) -> int:
    return sum(tensor.nbytes for tensor in state.values())
