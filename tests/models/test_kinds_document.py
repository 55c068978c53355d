"""docs/models.md's tables of kinds of files: each line is what named tests and the files of `models scan` show."""

import re
from collections.abc import Callable

import pytest

from tests.docs.documents import ROOT
from tests.imagegenx_cli.test_models_scan import FILES, OTHERS
from tests.models.adapters import test_adapter_dialects as dialects
from tests.models.adapters import test_adapter_requests as adapters
from tests.models.denoising import test_preview as preview
from tests.models.denoising import test_weighted_prompts as weighted
from tests.models.families import test_modelspec as modelspec
from tests.models.families import test_parts as parts
from tests.models.families import test_single_file as single
from tests.models.families import test_stable_diffusion as sd
from tests.models.upscaling import test_architectures as upscaling

Shown = str | Callable[..., None]
"""The name of a file that is scanned, or a test."""

WRONG_CONTROL = single.test_a_file_that_leads_in_another_way_is_named_where_a_card_takes_it_for_a_controlnet
LINES: dict[str, tuple[Shown, ...]] = {
    "Stable Diffusion 1.x and XL in one file": (
        *("sd1", "inpainting", "xl", "xl_turbo"),
        single.test_a_single_file_paints_what_the_folder_it_was_made_from_does,
        sd.test_text2img_is_what_diffusers_makes,
    ),
    "folders with variants only": (parts.test_a_folder_of_variants_is_loaded,),
    "Stable Diffusion 2.x in one file": (
        "sd2",
        single.test_a_file_that_is_missing_no_checkpoint_or_of_another_family_is_a_clear_error,
    ),
    "refiner of XL, instruct-pix2pix": (
        *("refiner", "pix2pix", "unet_pix2pix", "edm", "flux_whole"),
        parts.test_a_folder_of_another_kind_of_unet_is_refused_by_name,
        modelspec.test_what_no_sampler_follows_is_refused_by_name,
    ),
    "a UNet of Stable Diffusion alone": (
        "unet_only",
        parts.test_a_unet_of_any_layout_paints_what_it_does_in_its_model,
        parts.test_a_quantised_unet_is_the_one_that_its_numbers_stand_for,
        parts.test_a_unet_alone_is_a_source_beside_an_encoder_and_a_vae,
    ),
    "quantised as nvfp4": (parts.test_a_part_that_is_none_is_refused_in_one_line,),
    "a VAE; a CLIP text encoder": (
        *("vae", "clip"),
        parts.test_a_vae_of_its_own_takes_the_place_of_the_models,
        parts.test_a_unet_alone_is_a_source_beside_an_encoder_and_a_vae,
    ),
    "other encoders alone": ("t5", "words", "open_clip", "clip_vision", "vae_video", "motion"),
    "a tiny VAE (TAESD)": (
        "taesd",
        preview.test_a_tiny_vae_draws_previews_of_full_size_and_changes_no_picture,
    ),
    "a UNet that takes other than": ("depth",),
    "a transformer of Flux.1 or": (
        *("flux", "flux_dev", "sd3"),
        parts.test_a_transformer_alone_takes_the_place_of_a_pipelines_own,
    ),
    "other transformers alone": ("qwen",),
    "an embedding, `.safetensors`": (
        *("embedding", "embedding_xl"),
        weighted.test_embeddings_are_read_in_every_layout,
        weighted.test_a_pair_of_vectors_stands_in_both_encoders_of_xl,
    ),
    "an embedding for T5": ("embedding_t5", weighted.test_what_is_no_embedding_of_the_model_is_refused),
    "an IP-Adapter (also with faces": (
        *("ip", "ip_face", "ip_flux", "pulid", "t2i", "t2i_first", "t2i_style"),
        adapters.test_a_file_of_another_kind_is_refused_as_an_adapter_by_its_kind,
        WRONG_CONTROL,
    ),
    "an adapter of Stable Diffusion": ("lora_sd1", "lora_xl", "lora_flux", "lora_wan", "oft"),
    "ControlNet of one type; Union": ("control", "union", "control_lora", "lllite", "control_dit"),
    "upscalers: RRDB": ("esrgan", "hat", "dat", upscaling.test_a_network_paints_what_spandrel_paints_with_its_weights),
    "other upscalers: Swin2SR": (upscaling.test_other_architectures_are_refused_by_name,),
    "`.ckpt`, `.pt`, `.pth`, `.bin`": ("old.ckpt", "older.pt"),
    "a download cut off, a Git LFS pointer, a web page, a message": (
        *("pointer.safetensors", "page.safetensors", "message.safetensors", "empty.safetensors", "page.ckpt"),
        parts.test_damaged_and_missing_files_are_named,
    ),
    "a ControlNet of one type, as a file": (
        single.test_a_controlnet_in_one_file_of_any_layout_paints_what_its_folder_does,
        sd.test_controlnet_is_what_diffusers_makes,
    ),
    "a Union ControlNet, which": ("union", adapters.test_union_controlnets_are_refused_by_name),
    "Control-LoRA, ControlNet-LLLite": ("control_lora", "lllite", "t2i", "ip", WRONG_CONTROL),
    "several at once": (sd.test_several_controlnets_of_a_card_are_what_diffusers_makes,),
    "LoRA, LoCon (also with a middle layer)": (dialects.test_an_adapter_paints_as_merged_weights,),
    "names of kohya and A1111": (
        dialects.test_an_adapter_paints_as_merged_weights,
        dialects.test_an_adapter_of_xl_paints_as_merged_weights,
        dialects.test_a_folder_of_peft_paints_as_peft_merges_it,
    ),
    "ranks and alphas that differ": (
        dialects.test_an_adapter_paints_as_merged_weights,
        adapters.test_alphas_and_ranks_of_each_layer_are_as_in_merged_weights,
    ),
    "PEFT's settings": (
        dialects.test_a_folder_of_peft_paints_as_peft_merges_it,
        adapters.test_what_peft_says_and_is_not_followed_is_refused,
    ),
    "IA³, GLoRA, OFT": ("oft", adapters.test_a_kind_that_is_not_read_is_refused_by_name),
    "a tensor of an unknown name": (
        dialects.test_an_adapter_paints_as_merged_weights,
        adapters.test_a_file_is_used_whole_or_refused,
        adapters.test_a_change_that_lacks_a_part_is_refused,
    ),
    "one for another base": (adapters.test_a_lora_of_another_base_says_so_before_anything_is_loaded,),
    "a layer that the model does not have": (
        adapters.test_layers_that_the_model_does_not_have_are_not_left_out_in_silence,
        adapters.test_a_layer_of_another_shape_is_refused_with_both,
    ),
    "a download cut off, a Git LFS pointer, a web page, a pickle": (adapters.test_a_file_that_is_none_says_what_it_is,),
}


def table_lines() -> list[tuple[str, str]]:
    """Kinds of files, and whether they work or how they are refused, of every table that says so."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| [^|\n]+ \| works / refused how \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [tuple(line.strip("|\n ").split(" | ", 1)) for table in tables for line in table.splitlines()]


TABLE = table_lines()


def works(name: str) -> bool:
    """Whether a file of `models scan`'s test is expected to work."""
    return OTHERS[name][2] == "" if name in OTHERS else FILES[name][3] is None


def test_there_is_one_line_for_each_of_these_and_no_other() -> None:
    found = {start: [kinds for kinds, _ in TABLE if kinds.startswith(start)] for start in LINES}
    assert {start: lines for start, lines in found.items() if len(lines) != 1} == {}
    assert [kinds for kinds, _ in TABLE if not kinds.startswith(tuple(LINES))] == []


@pytest.mark.parametrize(("kinds", "said"), TABLE)
def test_a_line_says_what_its_tests_and_files_show(kinds: str, said: str) -> None:
    shown = next(shown for start, shown in LINES.items() if kinds.startswith(start))
    assert all(callable(one) or one in FILES or one in OTHERS for one in shown)
    found = {works(one) for one in shown if isinstance(one, str)}
    expected = {word for word, mark in ((True, "work"), (False, "refused"), (False, "named as")) if mark in said}
    assert found <= expected or "in its card" in said, (found, said)
