"""Full-size models with random weights, made on their device from published configurations: speed needs no others."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from models.architectures import read_architecture, write_configuration
from models.card import Accelerator, DType, ModelCard
from models.card_folders import CardFolders
from models.digests import DigestCache
from models.families.sdxl import StableDiffusionXL
from models.families.stable_diffusion import StableDiffusion
from models.family_table import FAMILIES, FamilyEntry
from models.registry import ModelRegistry
from models.request import Mode
from models.resolution import Resolution

if TYPE_CHECKING:
    import torch

_SMALL_TEXT: dict[str, object] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 32,
}
_SMALL_VAE: dict[str, object] = {"block_out_channels": [32, 32, 32, 32], "sample_size": 64}
_SMALL: dict[str, dict[str, dict[str, object]]] = {
    "sd": {
        "unet": {"block_out_channels": [32, 64, 64, 64], "cross_attention_dim": 32, "sample_size": 8},
        "vae": _SMALL_VAE,
        "text_encoder": _SMALL_TEXT,
    },
    "sdxl": {
        "unet": {
            "block_out_channels": [32, 64, 64],
            "attention_head_dim": [4, 8, 8],
            "transformer_layers_per_block": [1, 1, 2],
            "cross_attention_dim": 64,
            "projection_class_embeddings_input_dim": 6 * 256 + 32,
            "sample_size": 8,
        },
        "vae": _SMALL_VAE,
        "text_encoder": _SMALL_TEXT,
        "text_encoder_2": _SMALL_TEXT,
    },
}
"""What makes each architecture narrow enough for a CPU."""


class RandomCheckpoint(StableDiffusion):
    """Stable Diffusion 1.5 with random weights."""

    def _load_pipeline(self, dtype: "torch.dtype") -> Any:
        return random_pipeline(self.card, dtype, self.placement.device, self.pipelines, self.pipeline_options)


class RandomCheckpointXL(StableDiffusionXL):
    """Stable Diffusion XL with random weights."""

    def _load_pipeline(self, dtype: "torch.dtype") -> Any:
        return random_pipeline(self.card, dtype, self.placement.device, self.pipelines, self.pipeline_options)


def random_registry(*, small: bool, dtype: DType) -> ModelRegistry:
    """`sd` and `sdxl`, each as `NAME-eager` and `NAME-compile`; the small ones have narrow networks.

    Args:
        dtype: of the weights; see `ModelCard.dtype`.
    """
    families = cast("dict[str, FamilyEntry]", FAMILIES)
    for name, kind in (("sd", RandomCheckpoint), ("sdxl", RandomCheckpointXL)):
        target = f"{__name__}:{kind.__name__}"
        families[f"random-{name}"] = FamilyEntry(target, frozenset({Mode.TEXT2IMG}), has_loras=False, by_step=True)
    side = 64 if small else 512
    sides = {"sd": side, "sdxl": side if small else 1024}
    accelerators: tuple[Accelerator, ...] = ("eager", "compile")
    cards = [
        ModelCard(
            name=f"{name}-{accelerator}",
            family=f"random-{name}",
            source=f"random/{name}",
            revision="0" * 40,
            dtype=dtype,
            accelerator=accelerator,
            default_resolution=Resolution(sides[name], sides[name]),
            options={"architecture": name, "small": small},
        )
        for name in sides
        for accelerator in accelerators
    ]
    return ModelRegistry(CardFolders({card.name: card for card in cards}), cards[0].name, DigestCache(None))


def random_pipeline(
    card: ModelCard, dtype: "torch.dtype", device: str, pipelines: Any, options: dict[str, object]
) -> Any:
    """diffusers' pipeline of a card of `random_registry`; equal cards give equal weights on one device."""
    import torch

    architecture = copy.deepcopy(read_architecture(card.options["architecture"]))
    if card.options["small"]:
        for part, changes in _SMALL[card.options["architecture"]].items():
            architecture["parts"][part]["config"] |= changes
    torch.manual_seed(0)
    with TemporaryDirectory(prefix="imagegenx-") as folder:
        write_configuration(architecture, Path(folder))
        parts = {
            name: _part(Path(folder) / name, part["class"], dtype, device)
            for name, part in architecture["parts"].items()
        }
    return pipelines(**parts, **options)


def _part(folder: Path, kind: str, dtype: "torch.dtype", device: str) -> Any:
    import diffusers
    import torch
    import transformers

    library, _, name = kind.partition(".")
    made: Any = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
    if "Tokenizer" in name:
        return made.from_pretrained(folder)
    if "Scheduler" in name:
        return made.from_config(made.load_config(folder))
    config = made.config_class.from_pretrained(folder) if library == "transformers" else made.load_config(folder)
    with torch.device(device):
        network = made(config) if library == "transformers" else made.from_config(config)
        return network.to(dtype).eval()
