"""Names of the weights of RRDB networks, in the layouts in which ESRGAN and Real-ESRGAN networks are published."""

import math
import re
from collections.abc import Mapping

from torch import Tensor

from models.upscaling.rrdb import RRDBNet

_OPEN_LAYOUT = (
    ("RRDB_trunk.", "body."),
    (".RDB", ".rdb"),
    ("trunk_conv", "conv_body"),
    ("upconv", "conv_up"),
    ("HRconv", "conv_hr"),
)
_SEQUENTIAL_BODY = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)")
_SEQUENTIAL_BODY_END = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_SEQUENTIAL = re.compile(r"model\.(\d+)\.(weight|bias)")


def rrdb_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the two older layouts of the same network: `RRDB_trunk.…` and the sequential `model.…`."""
    if "model.0.weight" not in weights:
        return {_open_layout_name(name): tensor for name, tensor in weights.items()}
    ends = sorted({int(match[1]) for name in weights if (match := _SEQUENTIAL.fullmatch(name)) and match[1] != "0"})
    doublings = {end: f"conv_up{number}" for number, end in enumerate(ends[:-2], 1)}
    places = {0: "conv_first"} | doublings | dict(zip(ends[-2:], ("conv_hr", "conv_last"), strict=False))
    return {_sequential_layout_name(name, places): tensor for name, tensor in weights.items()}


def _open_layout_name(name: str) -> str:
    for old, new in _OPEN_LAYOUT:
        name = name.replace(old, new)
    return name


def _sequential_layout_name(name: str, places: Mapping[int, str]) -> str:
    if match := _SEQUENTIAL_BODY.fullmatch(name):
        return "body.{}.rdb{}.conv{}.{}".format(*match.groups())
    if match := _SEQUENTIAL_BODY_END.fullmatch(name):
        return f"conv_body.{match[1]}"
    match = _SEQUENTIAL.fullmatch(name)
    return f"{places[int(match[1])]}.{match[2]}" if match else name


def rrdb_network(published: Mapping[str, Tensor]) -> RRDBNet:
    """The network that published weights are of; KeyError or ValueError if they are of none."""
    weights = rrdb_weights(published)
    num_features, num_folded = weights["conv_first.weight"].shape[:2]
    num_doublings = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in weights)
    unshuffle = math.isqrt(num_folded // 3)
    if num_folded != 3 * unshuffle**2 or 2**num_doublings % unshuffle or weights["conv_last.weight"].shape[0] != 3:
        raise ValueError(
            f"{num_folded} input and {weights['conv_last.weight'].shape[0]} output channels: RGB is needed"
        )
    return RRDBNet(
        num_features=num_features,
        num_blocks=len({name.split(".")[1] for name in weights if name.startswith("body.")}),
        growth=weights["body.0.rdb1.conv1.weight"].shape[0],
        scale=2**num_doublings // unshuffle,
        unshuffle=unshuffle,
    )
