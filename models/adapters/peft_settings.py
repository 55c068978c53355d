"""What PEFT says of an adapter beside its tensors: the alphas, and settings that change what the tensors mean."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.adapters.tensor_names import ENCODER, ENCODER_2, UNET, LayerName
from models.errors import ModelLoadError

_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps the configuration, one below the other by network."""

_KINDS = ("LORA", "LOHA", "LOKR")
_REFUSED = ("use_qalora", "layer_replication", "alora_invocation_tokens", "trainable_token_indices")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initializations that take the adapter's start out of the model's own weights."""


@dataclass(frozen=True)
class PeftSettings:
    """The configuration of one network's adapter; https://huggingface.co/docs/peft/package_reference/lora."""

    alpha: float | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)
    rank: int | None = None
    is_stabilized: bool = False

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "PeftSettings":
        """The settings in a configuration; ModelLoadError if one of them is not followed here."""
        kind = str(said.get("peft_type", "LORA")).rpartition(".")[2].upper()
        if kind not in _KINDS:
            raise ModelLoadError(
                f"PEFT's configuration says peft_type {kind[:40]}, which is not read here. Use a LoRA."
            )
        begun = str(said.get("init_lora_weights", "")).lower()
        odd = next((name for name in _REFUSED if said.get(name)), "")
        if odd or begun.startswith(_CHANGES_BASE):
            raise ModelLoadError(
                f"PEFT's configuration says {odd or f'init_lora_weights {begun[:40]}'}, which is not followed here: it "
                "would paint wrong. Save it as a plain LoRA."
            )
        alpha, rank = said.get("lora_alpha", said.get("alpha")), said.get("r")
        return cls(
            float(alpha) if isinstance(alpha, int | float) else None,
            {str(name): float(value) for name, value in (said.get("alpha_pattern") or {}).items()},
            rank if isinstance(rank, int) else None,
            bool(said.get("use_rslora")),
        )

    def scale(self, layer: LayerName, rank: int | None) -> float:
        """What a layer's change is multiplied by; 1 where no alpha is known.

        Args:
            rank: of the layer's matrices; None if it has full ones, which PEFT scales by the rank it was asked for.
        """
        found = (value for name, value in self.alphas.items() if self._names(name, layer.flat))
        alpha, rank = next(found, self.alpha), rank or self.rank
        if alpha is None or not rank:
            return 1.0
        return alpha / (math.sqrt(rank) if self.is_stabilized else rank)

    @staticmethod
    def _names(pattern: str, flat: str) -> bool:
        wanted = re.escape(pattern.removeprefix("^").replace(".", "_"))
        return re.search(rf"(?:^|_){wanted}$" if not pattern.startswith("^") else rf"^{wanted}$", flat) is not None


def read_settings(file: Path, metadata: Mapping[str, str]) -> dict[str, PeftSettings]:
    """The settings by network ("" for all), from a file's own metadata or the `adapter_config.json` beside it.

    Raises:
        ModelLoadError: if they cannot be read or followed.
    """
    try:
        said = json.loads(metadata.get(_METADATA, "{}"))
        if beside := settings_file(file):
            said = {**json.loads(beside.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as exc:
        raise ModelLoadError("its PEFT configuration is damaged. Get it again") from exc
    return {part: PeftSettings.of(own) for part, own in _by_part(said).items()}


def settings_file(file: Path) -> Path | None:
    """PEFT's configuration beside the weights, which PEFT keeps under fixed names."""
    beside = file.with_name("adapter_config.json")
    return beside if file.name == "adapter_model.safetensors" and beside.is_file() else None


def _by_part(said: Any) -> dict[str, dict[str, Any]]:
    """By network: names like `unet.lora_alpha`, and those without a network's name for all of them."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in said.items() if isinstance(said, dict) else ():
        part, _, setting = name.partition(".")
        known = part in (UNET, ENCODER, ENCODER_2)
        parts.setdefault(part if known else "", {})[setting if known else name] = value
    return parts
