"""The names that trainers give to an adapter's tensors: of which network and layer, and what of its change."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from models.errors import ModelLoadError


class Role(StrEnum):
    """What a tensor is of a layer's change."""

    DOWN = "lora_down"
    UP = "lora_up"
    MID = "lora_mid"
    UP_BIAS = "lora_up.bias"
    ALPHA = "alpha"
    DORA_SCALE = "dora_scale"
    MAGNITUDE = "lora_magnitude_vector"
    HADA_W1_A = "hada_w1_a"
    HADA_W1_B = "hada_w1_b"
    HADA_W2_A = "hada_w2_a"
    HADA_W2_B = "hada_w2_b"
    HADA_T1 = "hada_t1"
    HADA_T2 = "hada_t2"
    LOKR_W1 = "lokr_w1"
    LOKR_W1_A = "lokr_w1_a"
    LOKR_W1_B = "lokr_w1_b"
    LOKR_W2 = "lokr_w2"
    LOKR_W2_A = "lokr_w2_a"
    LOKR_W2_B = "lokr_w2_b"
    LOKR_T2 = "lokr_t2"
    DIFF = "diff"
    DIFF_BIAS = "diff_b"


class LayerName(NamedTuple):
    """A layer of a network, its dots as underscores; the network is "" where the file does not say it."""

    part: str
    flat: str


_ADAPTER = r"(?:\.default(?:_\d+)?)?"
"""The name that PEFT has for an adapter, in files that were not written by it."""

_ENDS: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(rf"(?:{pattern})$"), role)
    for pattern, role in (
        (
            rf"\.lora_down\.weight|\.lora_A{_ADAPTER}\.weight|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight",
            Role.DOWN,
        ),
        (
            rf"\.lora_up\.weight|\.lora_B{_ADAPTER}\.weight|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight",
            Role.UP,
        ),
        (r"\.lora_mid\.weight", Role.MID),
        (rf"\.lora_B{_ADAPTER}\.bias", Role.UP_BIAS),
        (r"\.alpha", Role.ALPHA),
        (r"\.dora_scale", Role.DORA_SCALE),
        (rf"\.lora_magnitude_vector{_ADAPTER}(?:\.weight)?", Role.MAGNITUDE),
        *((rf"\.{role}", role) for role in Role if role.startswith(("hada_", "lokr_"))),
        (r"\.diff|\.w_norm", Role.DIFF),
        (r"\.diff_b|\.b_norm", Role.DIFF_BIAS),
    )
)

UNET, ENCODER, ENCODER_2 = "unet", "text_encoder", "text_encoder_2"
_STARTS = (
    (re.compile(r"lora_transformer_|transformer\.(?!text_model)"), UNET),
    (re.compile(r"lora_unet_|unet\.|(?:base_model\.model\.)?(?:model\.)?diffusion_model\."), UNET),
    (re.compile(r"lora_te1?_|text_encoder\.|clip_l\.|text_encoders\.clip_l\.transformer\."), ENCODER),
    (re.compile(r"lora_te2_|text_encoder_2\.|clip_g\.|text_encoders\.clip_g\.transformer\."), ENCODER_2),
    (re.compile(r"base_model\.model\.|lycoris_|"), ""),
)

_REFUSED = (
    (r"\.on_input$|ia3", "an IA³"),
    (r"\.(a[12]|b[12]|bm)\.weight$", "a GLoRA"),
    (r"\.(q_layer|p_layer)\.weight$|\.lambda_layer$", "a T-LoRA"),
    (r"\.oft_|\.boft_|\.oft_R", "an OFT"),
    (r"\.lora_(up|down|A)\.bias$|\.lora\.(up|down)\.bias$", "a LoRA with biases of its own"),
    (r"\.bias_(indices|values|size)$", "a LoRA with a thinned-out bias"),
    (r"^(emb_params|bundle_emb)|^(clip_l|clip_g|string_to_param)$", "an embedding, or holds one"),
)


def parse_name(name: str) -> tuple[LayerName, Role]:
    """What a tensor is.

    Raises:
        ModelLoadError: if it is part of a kind of adapter that is not read, or of none that is known.
    """
    for pattern, kind in _REFUSED:
        if re.search(pattern, name):
            raise ModelLoadError(
                f"it is {kind} (it holds {name[:100]}), which is not read here: it would paint wrong. "
                "Use a LoRA, LoCon, LoHa, LoKr or DoRA."
            )
    for end, role in _ENDS:
        if found := end.search(name):
            return _layer(name[: found.start()]), role
    raise ModelLoadError(
        f"it holds {name[:100]}, which is no part of an adapter that is known here: "
        "painting without it would paint wrong. Use another file."
    )


def _layer(path: str) -> LayerName:
    part, rest = next((part, path[found.end() :]) for start, part in _STARTS if (found := start.match(path)))
    return LayerName(part, rest.removesuffix(".base_layer").replace(".processor.", ".").replace(".", "_"))


def is_adapter(names: Iterable[str]) -> bool:
    """Whether tensors of these names are those of an adapter, of whatever kind."""
    marks = [pattern for pattern, role in _ENDS if role is not Role.ALPHA]
    marks += [re.compile(pattern) for pattern, _ in _REFUSED[:-1]]
    return any(mark.search(name) for name in names for mark in marks)
