"""The architectures of upscaling networks, told by the names of their tensors."""

import re
from collections.abc import Iterable
from enum import StrEnum


class Architecture(StrEnum):
    """Those that are run here."""

    RRDB = "RRDB (ESRGAN, Real-ESRGAN)"
    COMPACT = "compact (SRVGG)"
    SPAN = "SPAN"
    PLKSR = "PLKSR"
    SWINIR = "SwinIR"
    HAT = "HAT"
    DAT = "DAT"


_MARKS: tuple[tuple[str, str], ...] = (
    (r"^layers\.0\.residual_group\.overlap_attn\.", Architecture.HAT),
    (r"^layers\.0\.residual_group\.blocks\.0\.attn\.logit_scale$", "Swin2SR"),
    (r"^layers\.0\.blocks\.\d+\.attn\.(attns|attn_mask|temperature|rpe)", Architecture.DAT),
    (r"^layers\.0\.residual_group\.(layers\.0|td)\.", "ATD"),
    (r"^feats\.1\.lk\.(convs|mn_conv)\.", "PLKSR with sparse kernels"),
    (r"^feats\.1\.norm\.", "RealPLKSR normalized over the whole picture"),
    (r"^to_img\.", "RealPLKSR with DySample"),
    (r"^residual_layer\.0\.", "OmniSR"),
    (r"^unet1\.conv1\.", "Real-CUGAN"),
    (r"^conv_first\.1\.weight$", "SwinIR with a folded picture"),
    (r"^layers\.0\.residual_group\.blocks\.0\.attn\.relative_position_bias_table$", Architecture.SWINIR),
    (r"^feats\.1\.lk\.conv\.", Architecture.PLKSR),
    (r"^conv_1\.sk\.weight$", Architecture.SPAN),
    (r"^body\.0\.weight$", Architecture.COMPACT),
    (r"^(body\.\d+\.rdb1|RRDB_trunk|model\.1\.sub)\.", Architecture.RRDB),
)
_NESTED = re.compile(r"^(params(_ema)?\.|module\.)+")


def plain_name(name: str) -> str:
    """A tensor's name without what some programs put before it."""
    return _NESTED.sub("", name)


def architecture_of(names: Iterable[str]) -> str | None:
    """The architecture of a network's tensors, one of `Architecture` if it is run here; None if they are of none."""
    text = "\n".join(map(plain_name, names))
    return next((name for mark, name in _MARKS if re.search(mark, text, re.MULTILINE)), None)


def architecture_problem(name: str | None) -> str:
    """Why a network of this architecture is not run; "" if it is."""
    if name in list(Architecture):
        return ""
    return f"{name or 'its architecture'} is not run here; {', '.join(Architecture)} are"
