"""Models with random weights, made on their device: speed needs no others.

Stable Diffusion is made from published configurations, of full size or narrow; diffusion transformers are, too, and
`throughput` has a small one make requests in shared passes, and one by one.
"""

import copy
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from models.architectures import read_architecture, write_configuration
from models.card import Accelerator, DType, ModelCard
from models.card_folders import CardFolders
from models.digests import DigestCache
from models.families.sdxl import StableDiffusionXL
from models.families.stable_diffusion import StableDiffusion
from models.family_table import FAMILIES, FamilyEntry
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import Mode, Sampler
from models.resolution import Resolution

if TYPE_CHECKING:
    import torch

    from models.denoising.dit_model import DiTModel
    from models.denoising.slot import Slot

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
        families[f"random-{name}"] = FamilyEntry(
            target, frozenset({Mode.TEXT2IMG}), has_loras=False, by_step=True, is_unet=True
        )
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


LIMITS = {"shared / one by one": 1 / 1.2}

TRANSFORMER_REQUESTS = 64
_SMALL_DIT_VAE: Mapping[str, object] = {
    "block_out_channels": (16, 16, 16, 16),
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
_FULL_DIT_VAE: Mapping[str, object] = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
_FLUX_SMALL = {
    "num_layers": 2,
    "num_single_layers": 4,
    "attention_head_dim": 16,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "pooled_projection_dim": 64,
    "axes_dims_rope": (4, 6, 6),
}
_Z_SMALL = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "cap_feat_dim": 64, "axes_dims": [4, 6, 6]}
_QWEN_SMALL = {
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "axes_dims_rope": (4, 6, 6),
}


@dataclass(frozen=True)
class Architecture:
    """Of one family: diffusers' transformer, whose defaults are the published sizes, and what is narrow for a CPU."""

    transformer: str
    model: str
    small: Mapping[str, object]
    text_width: int
    text_tokens: int
    pooled_width: int = 0
    options: Mapping[str, object] | None = None
    vae: str = "AutoencoderKL"


ARCHITECTURES = {
    "flux": Architecture(
        "FluxTransformer2DModel", "flux:FluxModel", _FLUX_SMALL, 4096, 512, 768, {"guidance_embeds": True}
    ),
    "qwen_image": Architecture(
        "QwenImageTransformer2DModel", "qwen_image:QwenImageModel", _QWEN_SMALL, 3584, 128, vae="AutoencoderKLQwenImage"
    ),
    "z_image": Architecture("ZImageTransformer2DModel", "z_image:ZImageModel", _Z_SMALL, 2560, 128),
}


def random_transformer(name: str, *, small: bool, device: str, dtype: "torch.dtype") -> "DiTModel":
    """A model of a family with random weights, made on its device, and random texts in place of encoders."""
    from importlib import import_module

    import diffusers
    import torch

    from models.denoising.texts import Text

    kind = ARCHITECTURES[name]
    module, _, model = kind.model.partition(":")
    base: Any = getattr(import_module(f"models.families.{module}"), model)
    width, tokens, pooled = (64, 32, 64 if kind.pooled_width else 0) if small else _text_sizes(kind)
    with torch.device(device), _default_dtype(dtype):
        options = {**(kind.options or {}), **(kind.small if small else {})}
        transformer = getattr(diffusers, kind.transformer)(**options).eval()
        vae = _vae(kind, small).eval()
    for parameter_name, parameter in transformer.named_parameters():
        if parameter_name.endswith("pad_token"):
            torch.nn.init.normal_(parameter, std=0.02)

    class Random(base):  # type: ignore[misc]
        def text_tokens(self, text: str) -> int:
            return 1

        def encode_text(self, text: str) -> Text:
            dice = torch.Generator("cpu").manual_seed(zlib.crc32(text.encode()))
            states = torch.randn(1, tokens, width, generator=dice).to(device, dtype)
            return Text(states, torch.randn(1, pooled, generator=dice).to(device, dtype) if pooled else None)

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=name != "z_image")
    found: DiTModel = Random(SimpleNamespace(transformer=transformer, vae=vae, scheduler=scheduler, components={}), {})
    return found


def throughput(count: int = TRANSFORMER_REQUESTS) -> dict[str, float]:
    """Mixed requests of a small Flux.1 on the CPU: seconds in shared passes, one by one, and their relation."""
    import torch

    model = random_transformer("flux", small=True, device="cpu", dtype=torch.float32)
    recipes = mixed_recipes(count)
    run(model, recipes[:2], most=2)
    alone_s, shared_s = (run(model, recipes, most=most) for most in (1, 8))
    return {"one by one, s": alone_s, "shared passes, s": shared_s, "shared / one by one": shared_s / alone_s}


def mixed_recipes(count: int, side: int = 64) -> list[Recipe]:
    """Requests of several sizes, numbers of steps, guidances and samplers."""
    samplers = (Sampler.EULER, Sampler.UNIPC, Sampler.DPMPP_2M)
    return [
        a_recipe(
            seed=place,
            steps=2 + place % 7,
            cfg_scale=1.0 + place % 4,
            sampler=samplers[place % 3],
            height_px=side + 16 * (place % 8 == 7),
            width_px=side,
        )
        for place in range(count)
    ]


def a_recipe(**changes: object) -> Recipe:
    """A text-to-image recipe."""
    fields: dict[str, Any] = {
        "text": "a red mug",
        "negative_text": "",
        "model": "random",
        "release": "random",
        "engine": "eager/cpu/float32",
        "mode": Mode.TEXT2IMG,
        "width_px": 1024,
        "height_px": 1024,
        "steps": 4,
        "cfg_scale": 3.5,
        "sampler": Sampler.EULER,
        "seed": 1,
        "lora_name": "",
        "lora_weight": 1.0,
        "lora_digest": "",
        "strength": None,
        "image_digest": None,
        "mask_digest": None,
        "control_digest": None,
    }
    return Recipe(**{**fields, **changes})


def run(model: "DiTModel", recipes: Sequence[Recipe], most: int, on_step: Callable[[], None] = lambda: None) -> float:
    """Seconds to make all pictures, at most so many in one pass; the next joins as soon as one is done."""
    from models.denoising.stepper import Stepper
    from models.image import BatchItem

    stepper, waiting = Stepper(model), list(recipes)
    slots: list[Slot] = []
    began = time.perf_counter()
    while waiting or slots:
        while waiting and len(slots) < most:
            slots.append(stepper.start(BatchItem(waiting.pop(0)), ""))
        stepper.step(slots, _raise)
        on_step()
        for slot in [slot for slot in slots if slot.sampling.is_done]:
            stepper.pixels(slot)
            slots.remove(slot)
    spent_s = time.perf_counter() - began
    stepper.close()
    return spent_s


def full_size(
    name: str, *, small: bool, device: str, note: Callable[[str, float], None], check_time: Callable[[], None]
) -> None:
    """Speed of one family, one request at a time and four in a pass, and the memory it takes."""
    import torch

    dtype = torch.float32 if small else torch.bfloat16
    model = random_transformer(name, small=small, device=device, dtype=dtype)
    side, steps = (64, 2) if small else (1024, 8)
    recipes = [a_recipe(seed=seed, steps=steps, width_px=side, height_px=side) for seed in range(4)]
    with torch.no_grad():
        run(model, recipes[:1], 1, check_time)
        for most in (1, 4):
            spent_s = run(model, recipes, most, check_time)
            note(f"{name}: picture steps/s, {most} in a pass", len(recipes) * steps / spent_s)
    if device != "cpu":
        note(f"{name}: GPU memory at most, GB", torch.cuda.max_memory_allocated() / 1e9)


def _text_sizes(kind: Architecture) -> tuple[int, int, int]:
    return kind.text_width, kind.text_tokens, kind.pooled_width


def _vae(kind: Architecture, small: bool) -> Any:
    import diffusers

    if kind.vae != "AutoencoderKL":
        return diffusers.AutoencoderKLQwenImage(**({"base_dim": 8, "num_res_blocks": 1} if small else {}))
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    options = {**blocks, **(_SMALL_DIT_VAE if small else _FULL_DIT_VAE), "latent_channels": 16}
    return diffusers.AutoencoderKL(**options, scaling_factor=0.3611, shift_factor=0.1159)


@contextmanager
def _default_dtype(dtype: "torch.dtype") -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _raise(slot: object, exc: Exception) -> None:
    raise exc
