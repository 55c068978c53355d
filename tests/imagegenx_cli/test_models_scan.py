"""`models scan`: every kind of file by its header, and the cards of what works."""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from models import gguf_reader
from models.registry import ModelRegistry

UNET = "model.diffusion_model."
FIRST = f"{UNET}input_blocks.0.0.weight"
CONTEXT = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
SD1 = {FIRST: (8, 4, 3, 3), CONTEXT: (2, 768), "cond_stage_model.transformer.text_model.x.weight": (2,)}
SDXL = {FIRST: (8, 4, 3, 3), CONTEXT: (2, 2048), "conditioner.embedders.1.model.x.weight": (2,)}
LORA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(width: int, name: str = LORA) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_down.weight": (2, width), f"{name}.lora_up.weight": (4, 2), f"{name}.alpha": ()}


ALONE = "it holds the UNet or transformer of "
FILES: dict[str, tuple[dict[str, tuple[int, ...]], str, str | None, str | None]] = {
    "sd1": (SD1, "checkpoint", "Stable Diffusion 1.x", None),
    "inpainting": (SD1 | {FIRST: (8, 9, 3, 3)}, "checkpoint", "Stable Diffusion 1.x", None),
    "pix2pix": (
        SD1 | {FIRST: (8, 8, 3, 3)},
        "checkpoint",
        "Stable Diffusion 1.x",
        "it is an instruct-pix2pix model (8 channels), which is not run here",
    ),
    "sd2": (
        {FIRST: (8, 4, 3, 3), CONTEXT: (2, 1024), "cond_stage_model.model.x": (2,)},
        "checkpoint",
        "Stable Diffusion 2.x",
        "it has several noise schedules: its card must name one in `config`",
    ),
    "xl": (SDXL, "checkpoint", "Stable Diffusion XL", None),
    "xl_turbo": (SDXL, "checkpoint", "Stable Diffusion XL", None),
    "edm": (
        SDXL | {"edm_mean": (4,)},
        "checkpoint",
        "Stable Diffusion XL",
        "the file says edm_mean: its noise",
    ),
    "refiner": (
        {FIRST: (8, 4, 3, 3), CONTEXT: (2, 1280), "conditioner.embedders.0.model.x": (2,)},
        "checkpoint",
        "the refiner of Stable Diffusion XL",
        "it is the refiner of Stable Diffusion XL, which is not run here: use the base model",
    ),
    "unet_only": ({FIRST: (8, 4, 3, 3), CONTEXT: (2, 2048)}, "diffusion model alone", "Stable Diffusion XL", None),
    "unet_pix2pix": (
        {FIRST: (8, 8, 3, 3), CONTEXT: (2, 768)},
        "diffusion model alone",
        "Stable Diffusion 1.x",
        "it is an instruct-pix2pix model",
    ),
    "flux": ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (2, 2)}, "diffusion model alone", "Flux.1", None),
    "flux_dev": ({"double_blocks.0.img_attn.qkv.weight": (2, 2)}, "diffusion model alone", "Flux.1", None),
    "qwen": ({"transformer_blocks.0.img_mod.1.weight": (2, 2)}, "diffusion model alone", "Qwen-Image", ALONE),
    "flux_whole": (
        {f"{UNET}double_blocks.0.x.weight": (2, 2), "text_encoders.clip_l.x": (2,)},
        "checkpoint",
        "Flux.1",
        "Flux.1 is not run from one file: use a folder",
    ),
    "sd3": (
        {f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (2, 2)},
        "diffusion model alone",
        "Stable Diffusion 3",
        None,
    ),
    "lora_sd1": (lora(768), "adapter", "Stable Diffusion 1.x", None),
    "lora_xl": (lora(2048), "adapter", "Stable Diffusion XL", None),
    "lora_flux": (
        lora(3072, "lora_unet_double_blocks_0_img_attn_qkv"),
        "adapter",
        "Flux.1",
        None,
    ),
    "lora_wan": (
        lora(5120, "lora_unet_blocks_0_self_attn_q"),
        "adapter",
        "Wan",
        "adapters of Wan are not used here",
    ),
    "oft": ({f"{LORA}.oft_blocks": (2, 2, 2)}, "adapter", None, "it is an OFT"),
    "embedding": ({"emb_params": (2, 768)}, "embedding", "Stable Diffusion 1.x", None),
    "embedding_xl": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "embedding", "Stable Diffusion XL", None),
    "vae": ({"decoder.conv_in.weight": (2,), "encoder.conv_in.weight": (2,)}, "VAE", None, None),
    "control": (
        {"control_model.input_blocks.0.0.weight": (2,), "control_model.input_hint_block.0.weight": (2,)},
        "ControlNet",
        None,
        None,
    ),
    "union": (
        {"controlnet_cond_embedding.conv_in.weight": (2,), "task_embedding": (6, 2)},
        "ControlNet",
        None,
        "is a Union ControlNet (it holds task_embedding)",
    ),
    "t2i": ({"adapter.body.0.resnets.0.block1.weight": (2,)}, "T2I-adapter", None, "T2I-adapters are not run here"),
    "t2i_first": ({"body.0.block1.weight": (2,), "conv_in.weight": (2,)}, "T2I-adapter", None, "T2I-adapters are not"),
    "pulid": ({"pulid_ca.0.norm1.weight": (2,)}, "IP-Adapter", None, "IP-Adapters are"),
    "control_dit": (
        {"controlnet_blocks.0.weight": (2, 2)},
        "ControlNet",
        None,
        "it is a ControlNet of a transformer",
    ),
    "control_lora": (
        {"lora_controlnet": (0,), "input_blocks.0.0.weight": (2,), "input_hint_block.0.weight": (2,)},
        "ControlNet",
        None,
        "it is a Control-LoRA, which is not run here",
    ),
    "lllite": ({"lllite_unet_input_blocks_4_1.down.0.weight": (2,)}, "ControlNet", None, "it is a ControlNet-LLLite"),
    "ip": (
        {"image_proj.proj.weight": (2,), "ip_adapter.1.to_k_ip.weight": (2,)},
        "IP-Adapter",
        None,
        "IP-Adapters are",
    ),
    "ip_face": (
        {
            "image_proj.proj.weight": (2,),
            "ip_adapter.0.to_q_lora.down.weight": (2,),
            "ip_adapter.0.to_k_ip.weight": (2,),
        },
        "IP-Adapter",
        None,
        "IP-Adapters are",
    ),
    "ip_flux": (
        {"double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight": (2, 2)},
        "IP-Adapter",
        None,
        "IP-Adapters are",
    ),
    "t2i_style": ({"style_embedding": (1, 2)}, "T2I-adapter", None, "T2I-adapters are not"),
    "esrgan": ({"conv_first.weight": (2,), "body.0.rdb1.conv1.weight": (2,)}, "upscaler", None, None),
    "hat": ({"layers.0.residual_group.overlap_attn.x": (2,)}, "upscaler", None, None),
    "dat": ({"layers.0.blocks.0.attn.attns.0.rpe_biases": (2,)}, "upscaler", None, None),
    "clip": ({"text_model.encoder.layers.0.x": (2,)}, "text encoder", None, None),
    "t5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": (2, 2)}, "text encoder", None, "it is a T5 encoder"),
    "words": ({"model.layers.0.self_attn.q_proj.weight": (2, 2)}, "text encoder", None, "it is a language model"),
    "open_clip": ({"transformer.resblocks.0.ln_1.weight": (2,)}, "text encoder", None, "it is a CLIP encoder in the"),
    "clip_vision": ({"vision_model.post_layernorm.weight": (2,)}, "text encoder", None, "it is a CLIP encoder of pic"),
    "taesd": ({"decoder.layers.0.weight": (2,)}, "VAE", None, "it is a tiny VAE (TAESD)"),
    "vae_video": ({"decoder.conv1.weight": (2, 2, 3, 3, 3)}, "VAE", None, "it is a VAE of moving pictures"),
    "motion": ({"down_blocks.0.motion_modules.0.x": (2,)}, "diffusion model alone", None, "it is a motion module"),
    "embedding_t5": ({"clip_l": (2, 768), "t5xxl": (2, 4096)}, "embedding", None, "it is an embedding for T5"),
    "depth": (
        {FIRST: (8, 5, 3, 3), CONTEXT: (2, 1024), "cond_stage_model.model.x": (2,)},
        "checkpoint",
        "Stable Diffusion 2.x",
        "its UNet takes 5 channels, and not 4, or 9 for inpainting",
    ),
    "odd": ({"weight": (2,)}, "unknown", None, "its tensors are of no kind that is known here"),
}
OTHERS: dict[str, tuple[bytes, str, str]] = {
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid", "unknown", "is a pointer of Git LFS"),
    "page.safetensors": (b"<!DOCTYPE html>", "unknown", "is a web page"),
    "message.safetensors": (b'{"error":"gated"}', "unknown", "is a text in JSON, perhaps a site's error message"),
    "empty.safetensors": (b"", "unknown", "is empty. Get it again"),
    "renamed.safetensors": (b"PK\x03\x04" + bytes(90), "unknown", "is a pickle in a ZIP archive"),
    "old.ckpt": (b"PK\x03\x04" + bytes(90), "pickle", "is a pickle in a ZIP archive, which could run any code"),
    "older.pt": (b"\x80\x02" + bytes(90), "pickle", "is a pickle, which could run any code"),
    "page.ckpt": (b"<html>", "unknown", "is a web page"),
    "flux.gguf": (b"GGUF\x03" + bytes(90), "GGUF", "flux.gguf is no GGUF file, or was cut off"),
    "endless.gguf": (
        b"GGUF" + struct.pack("<IQQQcIIQ", 3, 0, 1, 1, b"a", 9, 0, 2**62) + bytes(9),
        "GGUF",
        "endless.gguf is no GGUF file, or was cut off: it ends too early",
    ),
    "shape.gguf": (
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 1)
        + struct.pack("<Q23sIIQI", 23, b"comfy.gguf.orig_shape.w", 9, 5, 1, 5)
        + struct.pack("<QcIQIQ", 1, b"w", 1, 4, 0, 0)
        + bytes(64),
        "GGUF",
        "the shape that is told of 'w' is not that of its numbers",
    ),
    "named.safetensors": (b"GGUF\x03" + bytes(90), "unknown", "is a GGUF file"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "below").mkdir()
    for name, (shapes, *_) in FILES.items():
        save_file({key: np.zeros(shape, np.float16) for key, shape in shapes.items()}, folder / f"{name}.safetensors")
    for name, (content, *_) in OTHERS.items():
        (folder / name).write_bytes(content)
    whole = (folder / "sd1.safetensors").read_bytes()
    (folder / "below/cut.safetensors").write_bytes(whole[:-7])
    (folder / "._sd1.safetensors").write_bytes(b"\0")
    (folder / "notes.txt").write_text("no weights")
    (folder / "piped/unet").mkdir(parents=True)
    (folder / "piped/model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    (folder / "piped/unet/diffusion_pytorch_model.safetensors").write_bytes(whole)
    return folder


@pytest.fixture
def scanned(imagegenx, folder) -> dict[str, dict]:
    status, output, error = imagegenx("models", "scan", folder, "--json")
    assert status == 0, error
    return {str(Path(entry["file"]).relative_to(folder)): entry for entry in json.loads(output)}


def test_every_kind_of_file_is_told_with_its_base_and_whether_it_works(scanned):
    told = {name: (one["kind"], one["base"], one["works"]) for name, one in scanned.items()}
    expected = {f"{name}.safetensors": (kind, base, reason is None) for name, (_, kind, base, reason) in FILES.items()}
    expected |= {name: (kind, None, False) for name, (_, kind, _) in OTHERS.items()}
    expected |= {"below/cut.safetensors": ("unknown", None, False), "piped": ("pipeline", "Stable Diffusion XL", True)}
    reasons = {f"{name}.safetensors": reason for name, (*_, reason) in FILES.items() if reason}
    reasons |= {name: reason for name, (*_, reason) in OTHERS.items()}

    assert told == expected
    assert {name: scanned[name]["reason"][: len(reason)] for name, reason in reasons.items()} == reasons
    assert scanned["below/cut.safetensors"]["reason"].startswith("was cut off: it has ")


def test_a_part_is_told_with_the_field_of_a_card_that_names_it(imagegenx, scanned, folder, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "unet.gguf", "sdxl")
    for name, shape in {FIRST.removeprefix(UNET): (8, 4, 3, 3), CONTEXT.removeprefix(UNET): (2, 2048)}.items():
        writer.add_tensor(name, np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fields = {name: one["card_field"] for name, one in scanned.items() if one["works"] and one["card_field"]}

    assert fields == {
        **{f"{name}.safetensors": "parts: transformer" for name in ("flux", "flux_dev", "sd3")},
        **{"unet_only.safetensors": "parts: unet", "vae.safetensors": "vae", "clip.safetensors": "parts: text_encoder"},
        **{"embedding.safetensors": "embeddings", "embedding_xl.safetensors": "embeddings"},
        **{f"lora_{base}.safetensors": "loras" for base in ("sd1", "xl", "flux")},
        "control.safetensors": "controlnet",
    }
    (entry,) = json.loads(imagegenx("models", "scan", tmp_path, "--json")[1])
    told = (entry["kind"], entry["base"], entry["works"], entry["card_field"])
    assert told == ("GGUF", "Stable Diffusion XL", True, "parts: unet")
    assert "yes, in a card's `parts: unet`" in imagegenx("models", "scan", tmp_path)[1]


def test_a_gguf_file_with_more_parts_than_any_model_is_not_read_to_its_end(imagegenx, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_reader, "MOST_READS", 1000)
    header = b"GGUF" + struct.pack("<IQQQcIIQ", 3, 0, 1, 1, b"a", 9, 0, 2**20)
    (tmp_path / "words.gguf").write_bytes(header + bytes(2**20))

    assert "its header has more parts than that of any model" in imagegenx("models", "scan", tmp_path)[1]


def test_cards_of_what_works_are_written_once_and_read(imagegenx, folder, tmp_path):
    status, output, _ = imagegenx("models", "scan", folder, "--write", tmp_path)
    again = imagegenx("models", "scan", folder, "--write", tmp_path)

    registry = ModelRegistry.load([tmp_path], "sd1")
    assert (status, registry.bad_cards) == (0, ())
    assert registry.names == ("inpainting", "piped", "sd1", "xl", "xl_turbo")
    assert registry.card("sd1").loras == {"lora_sd1": str(folder / "lora_sd1.safetensors")}
    assert registry.card("xl").loras == {"lora_xl": str(folder / "lora_xl.safetensors")}
    assert (str(registry.card("xl").default_resolution), registry.card("xl").family) == ("1024×1024", "sdxl")
    turbo = registry.card("xl_turbo")
    assert (turbo.schedule, turbo.defaults.steps, turbo.defaults.cfg_scale) == ("trailing", 6, 1.5)
    assert registry.card("inpainting").modes == ("inpaint",)
    assert f"wrote {tmp_path / 'sd1.yaml'}" in output
    assert "wrote" not in again[1]


def test_a_folder_that_is_not_there_is_a_clear_error(imagegenx, tmp_path):
    status, _, error = imagegenx("models", "scan", tmp_path / "none")

    assert status == 1
    assert f"folder {tmp_path / 'none'} cannot be read: No such file or directory" in error


@pytest.mark.parametrize("length", [0x280, 0x480, 0x227B])
def test_a_header_s_length_is_not_taken_for_another_format(imagegenx, tmp_path, length):
    header = b'{"emb_params":{"dtype":"F16","shape":[2,768],"data_offsets":[0,3072]}}'
    file = tmp_path / "one.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + bytes(3072))

    (entry,) = json.loads(imagegenx("models", "scan", tmp_path, "--json")[1])

    assert (entry["kind"], entry["works"]) == ("embedding", True)
