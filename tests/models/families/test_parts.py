"""Networks in files of their own: in every published layout they paint what the same weights in a folder do."""

import json
import re
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from models.errors import ModelLoadError
from models.image import GeneratedImage
from models.registry import ModelRegistry
from tests.models.families.original_layout import write_single_file
from tests.models.families.test_single_file import paint
from tests.support.model_factory import build_random_flux

UNET, VAE = "model.diffusion_model.", "first_stage_model."
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def other(random_models, tmp_path_factory) -> Path:
    """`sd`, a copy of the random model with other weights, and `sd.safetensors`, the same in one file."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(random_models.folder / "sd", folder / "sd")
    draw = torch.Generator().manual_seed(8)
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (folder / "sd" / part).glob("*.safetensors")
        weights = load_file(file)
        save_file(
            {name: one * (1 + 0.2 * torch.rand(one.shape, generator=draw)) for name, one in weights.items()}, file
        )
    options = {"safety_checker": None, "requires_safety_checker": False}
    write_single_file(StableDiffusionPipeline.from_pretrained(folder / "sd", **options), folder / "sd.safetensors")
    return folder


def original(other: Path, prefix: str) -> Weights:
    """A part of the file in the original layout, without its prefix."""
    weights = load_file(other / "sd.safetensors")
    return {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}


def write_gguf(weights: Weights, file: Path, kind: gguf.GGMLQuantizationType) -> Weights:
    """Write weights as ComfyUI's tools do, large ones quantised, and return what they are then."""
    writer, kept = gguf.GGUFWriter(file, "sd1"), {}
    for name, one in weights.items():
        values = one.numpy().astype(np.float32)
        flat = values.reshape(-1, 32) if values.ndim == 4 and values.size % 32 == 0 else values
        quantised = kind if flat.ndim > 1 and flat.shape[-1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(flat, quantised)
        if flat is not values:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", values.shape)
        writer.add_tensor(name, data, raw_dtype=quantised)
        kept[name] = torch.from_numpy(gguf.quants.dequantize(data, quantised).reshape(values.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


def in_float8(weights: Weights, scale: str) -> tuple[Weights, Weights]:
    """Weights in scaled float8, and what they are then."""
    written, kept = {}, dict(weights)
    for name, one in weights.items():
        if one.ndim < 2:
            written[name] = one
            continue
        factor = one.abs().max() / 448
        rounded = (one / factor).to(torch.float8_e4m3fn)
        written |= {name: rounded, name.replace("weight", scale): factor}
        written[name.replace("weight", "scale_input")] = torch.ones(())
        kept[name] = rounded.float() * factor
    return written, kept


def card(folder: Path, name: str, **fields: object) -> str:
    text = json.dumps({"family": "sd", "default_resolution": "64×64", **fields}, default=str)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return name


def painted(folder: Path, name: str, **fields: object) -> np.ndarray:
    result = paint(folder, card(folder, name, **fields))
    assert isinstance(result, GeneratedImage), result
    return result.pixels.astype(int)


def with_unet(random_models, unet: Weights | Path, folder: Path) -> Path:
    """The random model's folder with another UNet."""
    shutil.copytree(random_models.folder / "sd", folder)
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    shutil.copyfile(unet, file) if isinstance(unet, Path) else save_file(unet, file)
    return folder


@pytest.mark.parametrize("layout", ["comfyui", "original", "diffusers", "gguf", "folder"])
def test_a_unet_of_any_layout_paints_what_it_does_in_its_model(random_models, other, tmp_path, layout):
    file = tmp_path / f"unet.{'gguf' if layout == 'gguf' else 'safetensors'}"
    if layout == "comfyui":
        save_file({UNET + name: one for name, one in original(other, UNET).items()}, file)
    elif layout == "original":
        save_file(original(other, UNET), file)
    elif layout == "gguf":
        write_gguf(original(other, UNET), file, gguf.GGMLQuantizationType.F32)
    else:
        file = other / "sd/unet" / ("" if layout == "folder" else "diffusion_pytorch_model.safetensors")
    whole = with_unet(random_models, other / "sd/unet/diffusion_pytorch_model.safetensors", tmp_path / "whole")

    parted = painted(tmp_path, "parted", source=random_models.folder / "sd", parts={"unet": file})

    assert np.abs(parted - painted(tmp_path, "meant", source=whole)).max() <= 1
    assert np.abs(parted - painted(tmp_path, "plain", source=random_models.folder / "sd")).max() > 1


@pytest.mark.parametrize("layout", ["scale_weight", "weight_scale", "Q8_0", "Q4_0", "BF16"])
def test_a_quantised_unet_is_the_one_that_its_numbers_stand_for(random_models, other, tmp_path, layout):
    weights = load_file(other / "sd/unet/diffusion_pytorch_model.safetensors")
    if layout in ("scale_weight", "weight_scale"):
        file = tmp_path / "unet.safetensors"
        written, kept = in_float8(weights, layout)
        written["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
        save_file({name: one.contiguous() for name, one in written.items()}, file)
    else:
        file = tmp_path / "unet.gguf"
        kept = write_gguf(weights, file, gguf.GGMLQuantizationType[layout])
    whole = with_unet(random_models, {name: one.contiguous() for name, one in kept.items()}, tmp_path / "whole")

    parted = painted(tmp_path, "parted", source=random_models.folder / "sd", parts={"unet": file})

    assert np.abs(parted - painted(tmp_path, "meant", source=whole)).max() <= 1


def test_a_unet_alone_is_a_source_beside_an_encoder_and_a_vae(other, tmp_path):
    save_file(original(other, UNET), tmp_path / "unet.safetensors")
    shutil.copytree(other / "sd", tmp_path / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    encoder = other / "sd/text_encoder/model.safetensors"
    fields = {"source": tmp_path / "unet.safetensors", "config": tmp_path / "config"}

    alone = painted(tmp_path, "alone", **fields, vae=other / "sd/vae", parts={"text_encoder": encoder})

    assert np.abs(alone - painted(tmp_path, "whole", source=other / "sd")).max() <= 1
    assert paint(tmp_path, card(tmp_path, "lacking", **fields)).error.endswith(
        "unet.safetensors holds the UNet alone: name `vae` and `parts: text_encoder` in its card"
    ) or paint(tmp_path, "lacking").error.endswith(
        "unet.safetensors holds the UNet alone: name `parts: text_encoder` and `vae` in its card"
    )


@pytest.mark.parametrize("layout", ["original", "bare", "diffusers", "old", "variant"])
def test_a_vae_of_its_own_takes_the_place_of_the_models(random_models, other, tmp_path, layout):
    weights = original(other, VAE)
    if layout in ("diffusers", "old"):
        weights = load_file(other / "sd/vae/diffusion_pytorch_model.safetensors")
    if layout == "old":
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", r"to_out\.0": "proj_attn"}.items():
            weights = {
                re.sub(rf"attentions\.0\.{new}", f"attentions.0.{old}", name): one for name, one in weights.items()
            }
    prefix = VAE if layout == "original" else ""
    save_file({prefix + name: one for name, one in weights.items()}, tmp_path / "vae.safetensors")
    whole = tmp_path / "whole"
    shutil.copytree(random_models.folder / "sd", whole)
    shutil.copytree(other / "sd/vae", whole / "vae", dirs_exist_ok=True)

    part = tmp_path / "vae.safetensors"
    if layout == "variant":
        part = tmp_path / "vae"
        shutil.copytree(other / "sd/vae", part)
        (part / "diffusion_pytorch_model.safetensors").rename(part / "diffusion_pytorch_model.fp16.safetensors")
    parted = painted(tmp_path, "parted", source=random_models.folder / "sd", vae=part)

    assert np.abs(parted - painted(tmp_path, "meant", source=whole)).max() <= 1


@pytest.mark.parametrize("layout", ["safetensors", "float8", "gguf"])
def test_a_transformer_alone_takes_the_place_of_a_pipelines_own(tmp_path, layout):
    build_random_flux(tmp_path / "flux")
    weights = load_file(tmp_path / "flux/transformer/diffusion_pytorch_model.safetensors")
    weights = {name: one * 1.3 for name, one in weights.items()}
    file = tmp_path / f"transformer.{'gguf' if layout == 'gguf' else 'safetensors'}"
    if layout == "gguf":
        kept = write_gguf(weights, file, gguf.GGMLQuantizationType.Q8_0)
    else:
        written, kept = in_float8(weights, "weight_scale") if layout == "float8" else (weights, weights)
        save_file({name: one.contiguous() for name, one in written.items()}, file)
    shutil.copytree(tmp_path / "flux", tmp_path / "whole")
    save_file(
        {name: one.contiguous() for name, one in kept.items()},
        tmp_path / "whole/transformer/diffusion_pytorch_model.safetensors",
    )
    fields = {"family": "diffusers", "samplers": ["Euler"]}

    parted = painted(tmp_path, "parted", source=tmp_path / "flux", parts={"transformer": file}, **fields)

    assert np.abs(parted - painted(tmp_path, "meant", source=tmp_path / "whole", **fields)).max() <= 1
    assert np.abs(parted - painted(tmp_path, "plain", source=tmp_path / "flux", **fields)).max() > 1


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_folder_of_variants_is_loaded(random_models, tmp_path, family):
    source = tmp_path / "variants"
    shutil.copytree(random_models.folder / family, source)
    for file in list(source.glob("*/*.safetensors")):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    fields = {"family": family, "modes": ["text2img"]}

    found = painted(tmp_path, "found", source=source, **fields)

    assert np.array_equal(found, painted(tmp_path, "plain", source=random_models.folder / family, **fields))


def refusal(folder: Path, random_models, **fields: object) -> str:
    result = paint(folder, card(folder, "wrong", **({"source": random_models.folder / "sd"} | fields)))
    return result.error.partition(": ")[2]


def test_a_part_that_is_none_is_refused_in_one_line(random_models, other, tmp_path):
    unet = load_file(other / "sd/unet/diffusion_pytorch_model.safetensors")
    first = next(iter(unet))

    def said(part: str, weights: Weights, file: str = "part.safetensors") -> str:
        save_file({name: one.contiguous() for name, one in weights.items()}, tmp_path / file)
        return refusal(tmp_path, random_models, parts={part: tmp_path / file})

    xl = load_file(random_models.folder / "sdxl/unet/diffusion_pytorch_model.safetensors")
    vae = load_file(other / "sd/vae/diffusion_pytorch_model.safetensors")
    clip = load_file(other / "sd/text_encoder/model.safetensors")
    misfit = "part {0}: part.safetensors does not fit this model's "
    made_for_xl = "part unet: part.safetensors is made for Stable Diffusion XL, but the card says family sd"
    assert made_for_xl in said("unet", xl)
    assert "part vae: part.safetensors is no vae, but: diffusion model alone" in said("vae", unet)
    assert "part unet: part.safetensors is no unet, but: VAE" in said("unet", vae)
    assert misfit.format("unet") in said("unet", {name: one for name, one in unet.items() if name != first})
    assert misfit.format("unet") in said("unet", unet | {"wings.weight": torch.ones(3)})
    assert misfit.format("unet") in said("unet", unet | {first: torch.ones(3)})
    assert misfit.format("vae") in said("vae", vae | {"wings.weight": torch.ones(3)})
    assert "it has the unknown wings.weight" in said("text_encoder", clip | {"wings.weight": torch.ones(3)})
    name = next(name for name in clip if name.endswith("final_layer_norm.weight"))
    assert "it lacks " in said("text_encoder", {n: o for n, o in clip.items() if n != name})
    assert "it has another shape of " in said("text_encoder", clip | {name: torch.ones(3)})
    assert "is no scale of float8 weights" in said("unet", unet | {"conv_in.weight_scale": torch.ones(())})
    quantised = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    assert "is quantised as 'nvfp4', which is not read here" in said("unet", unet | {"conv_in.comfy_quant": quantised})


def test_damaged_and_missing_files_are_named(random_models, other, tmp_path):
    file = tmp_path / "unet.gguf"
    write_gguf(original(other, UNET), file, gguf.GGMLQuantizationType.Q8_0)
    for size in (60, 3000, file.stat().st_size - 99):
        (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:size])
        said = refusal(tmp_path, random_models, parts={"unet": tmp_path / "cut.gguf"})
        assert "cut.gguf is no GGUF file, or was cut off" in said
    (tmp_path / "page.gguf").write_bytes(b"<html>")
    assert "page.gguf is no GGUF file" in refusal(tmp_path, random_models, parts={"unet": tmp_path / "page.gguf"})

    card(tmp_path, "gone", source=random_models.folder / "sd", parts={"unet": tmp_path / "none.safetensors"})
    with pytest.raises(ModelLoadError, match=r"no file .*none\.safetensors\. Put .* name another `parts: unet` in"):
        ModelRegistry.load([tmp_path], "gone").release("gone")


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"parts": {"wings": "x"}}, "family sd takes no part 'wings' of its own. It takes text_encoder, unet, vae."),
        ({"parts": {"vae": "x"}, "vae": "y"}, "vae and parts: vae name the same part."),
        ({"family": "diffusers", "parts": {"text_encoder": "x"}}, "takes no part 'text_encoder' of its own. It takes"),
        ({"vae": "store:vaes/x.safetensors"}, "parts.vae: name the sha256 (64 hex digits) of store:vaes/x.safetensors"),
    ],
)
def test_a_card_with_wrong_parts_says_so(random_models, tmp_path, fields, rule):
    card(tmp_path, "right", source=random_models.folder / "sd")
    card(tmp_path, "wrong", **({"source": random_models.folder / "sd"} | fields))

    (bad,) = ModelRegistry.load([tmp_path], "right").bad_cards

    assert rule in bad.reason


def test_the_release_follows_the_parts(random_models, other, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", -1.0)
    shutil.copyfile(other / "sd/vae/diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors")
    card(tmp_path, "plain", source=random_models.folder / "sd")
    card(tmp_path, "parted", source=random_models.folder / "sd", vae=tmp_path / "vae.safetensors")
    registry = ModelRegistry.load([tmp_path], "plain")
    plain, parted = registry.release("plain"), registry.release("parted")
    assert plain != parted

    weights = load_file(tmp_path / "vae.safetensors")
    save_file({name: one + 1 for name, one in weights.items()}, tmp_path / "vae.safetensors")

    assert (registry.release("plain"), registry.release("parted") != parted) == (plain, True)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"in_channels": 8}, "it is an instruct-pix2pix model (8 channels), which is not run here"),
        ({"cross_attention_dim": 1280}, "it is the refiner of Stable Diffusion XL, which is not run here"),
    ],
)
def test_a_folder_of_another_kind_of_unet_is_refused_by_name(random_models, tmp_path, changed, rule):
    folder = tmp_path / "odd"
    shutil.copytree(random_models.folder / "sd", folder)
    config = json.loads((folder / "unet/config.json").read_text()) | changed
    (folder / "unet/config.json").write_text(json.dumps(config))

    assert rule in refusal(tmp_path, random_models, source=folder)
