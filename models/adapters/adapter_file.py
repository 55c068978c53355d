"""An adapter's file by its header alone: its layers, and why it cannot be painted with as it is meant."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from models.adapters.peft_settings import read_settings, settings_file
from models.adapters.tensor_names import LayerName, Role, parse_name
from models.digests import FileMark
from models.errors import ModelLoadError
from models.safetensors_header import HeaderError, read_header

LORA = frozenset({Role.DOWN, Role.UP})
LOHA = frozenset({Role.HADA_W1_A, Role.HADA_W1_B, Role.HADA_W2_A, Role.HADA_W2_B})
_LOHA_CORES = frozenset({Role.HADA_T1, Role.HADA_T2})
_W1S = (frozenset({Role.LOKR_W1}), frozenset({Role.LOKR_W1_A, Role.LOKR_W1_B}))
_W2_PAIR = frozenset({Role.LOKR_W2_A, Role.LOKR_W2_B})
_W2S = (frozenset({Role.LOKR_W2}), _W2_PAIR, _W2_PAIR | {Role.LOKR_T2})
_CHANGES: frozenset[frozenset[Role]] = frozenset(
    {
        LORA,
        LORA | {Role.MID},
        LORA | {Role.UP_BIAS},
        LOHA,
        LOHA | _LOHA_CORES,
        *(w1 | w2 for w1 in _W1S for w2 in _W2S),
    }
)
"""The sets of tensors that say how a layer's weight changes."""

_SCALES: tuple[frozenset[Role], ...] = (frozenset({Role.DORA_SCALE}), frozenset({Role.MAGNITUDE}), frozenset())

Layers = Mapping[LayerName, Mapping[Role, str]]


def adapter_problem(file: Path) -> str | None:
    """Why an adapter's file cannot be painted with, with what to do; None if it can, or is not here yet."""
    try:
        return _problem_of(file, FileMark.of(file))
    except OSError:
        return None


@lru_cache(maxsize=256)
def _problem_of(file: Path, mark: FileMark) -> str | None:
    try:
        header = read_header(file)
        read_settings(file, header.metadata)
        read_layers(header.tensors)
    except HeaderError as exc:
        return f"its file {exc}."
    except ModelLoadError as exc:
        return str(exc)
    return None


def adapter_digest(file: Path, digest: Callable[[Path], str]) -> str:
    """What decides an adapter's pixels: the sha256 of its file, and of PEFT's configuration beside it, if any.

    Args:
        digest: gives the sha256 of a file, in hex.
    """
    beside = settings_file(file)
    own = digest(file)
    return hashlib.sha256(f"{own} {digest(beside)}".encode()).hexdigest() if beside else own


def read_layers(names: Iterable[str]) -> Layers:
    """The tensors of each layer by what they are; every one of the names is in it.

    Raises:
        ModelLoadError: if one belongs to no adapter that is known, or a layer's change is not whole.
    """
    layers: dict[LayerName, dict[Role, str]] = {}
    for name in names:
        layer, role = parse_name(name)
        other = layers.setdefault(layer, {}).setdefault(role, name)
        if other != name:
            raise ModelLoadError(f"it holds a tensor twice, as {other[:100]} and {name[:100]}. Use another file.")
    for tensors in layers.values():
        _check_whole(tensors)
    if not layers:
        raise ModelLoadError("it holds no tensors. Get it again.")
    return layers


def _check_whole(tensors: Mapping[Role, str]) -> None:
    roles = frozenset(tensors) - {Role.ALPHA, Role.DIFF_BIAS}
    some = next(iter(tensors.values()))[:100]
    if roles <= {Role.DIFF}:
        if not roles and Role.DIFF_BIAS not in tensors:
            raise ModelLoadError(f"it has nothing to scale with {some}: the file is not whole. Get it again.")
        return
    changes = {change | scale for change in _CHANGES for scale in _SCALES}
    if roles not in changes:
        raise ModelLoadError(f"the layer of {some} {_what_is_wrong(roles, changes)}. Get it again.")


def _what_is_wrong(roles: frozenset[Role], changes: Collection[frozenset[Role]]) -> str:
    lacking = [change - roles for change in changes if change > roles]
    if lacking:
        return f"lacks {', '.join(sorted(sorted(one) for one in lacking)[0])}"
    return f"mixes kinds of adapters ({', '.join(sorted(roles))})"
