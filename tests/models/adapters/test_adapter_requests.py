"""Requests with adapters: painted as merged weights are, several at once, or refused by name before anything loads."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from configs.settings import EngineSettings
from models.adapters import adapter_switch
from models.adapters.adapter import read_adapter
from models.adapters.adapter_file import adapter_problem, read_layers
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError, ModelLoadError
from models.families.single_file import load_controlnet_file
from models.image import FailedImage, GeneratedImage
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
PLAIN = {f"{LAYER}.lora_down.weight": (4, 64), f"{LAYER}.lora_up.weight": (64, 4), f"{LAYER}.alpha": ()}


def write_kohya(file: Path, prefixes: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """A file whose alphas and ranks differ from layer to layer; returns what it adds to each layer's weight."""
    random = torch.Generator().manual_seed(1)
    weights, added = {}, {}
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    modules = {
        (prefix, name): module
        for prefix, network in prefixes.items()
        for name, module in network.named_modules()
        if isinstance(module, kinds) and not name.startswith(("time_embedding", "conv_"))
    }
    for number, ((prefix, name), module) in enumerate(modules.items()):
        rank, alpha, shape = 2 + number % 3, 1.0 + number % 5, module.weight.shape
        ones = (1, 1) if len(shape) == 4 else ()
        down = torch.randn(rank, *shape[1:], generator=random) * 0.03
        up = torch.randn(shape[0], rank, *ones, generator=random) * 0.03
        base = prefix + name.replace(".", "_")
        weights |= {f"{base}.lora_down.weight": down, f"{base}.lora_up.weight": up}
        weights[f"{base}.alpha"] = torch.tensor(alpha)
        added[prefix + name] = alpha / rank * (up.flatten(1) @ down.flatten(1)).reshape(shape)
    save_file(weights, file)
    return added


@pytest.fixture(scope="module")
def merged(random_models, tmp_path_factory) -> ModelRegistry:
    """`plain` with the LoRA `kohya`, and `merged`: the same model with the LoRA added to its weights."""
    folder = tmp_path_factory.mktemp("merged")
    pipeline = StableDiffusionPipeline.from_pretrained(
        random_models.folder / "sd", safety_checker=None, requires_safety_checker=False
    )
    added = write_kohya(folder / "kohya.safetensors", {"lora_unet_": pipeline.unet, "lora_te_": pipeline.text_encoder})
    for prefix, network in (("lora_unet_", pipeline.unet), ("lora_te_", pipeline.text_encoder)):
        for name, module in network.named_modules():
            if prefix + name in added:
                module.weight.data += added[prefix + name]
    pipeline.save_pretrained(folder / "merged")
    size = "default_resolution: 64×64\n"
    (folder / "merged.yaml").write_text(f"family: sd\nsource: merged\n{size}")
    source = random_models.folder / "sd"
    shutil.copy(folder / "kohya.safetensors", folder / "again.safetensors")
    loras = "loras: {kohya: kohya.safetensors, again: again.safetensors}"
    (folder / "plain.yaml").write_text(f"family: sd\nsource: {source}\n{size}{loras}\n")
    return ModelRegistry.load([folder], "plain")


def paint(registry: ModelRegistry, pool: PipelinePool, model: str, **params) -> GeneratedImage | FailedImage:
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), pool)
    request = parse_request({"text": "a red shoe", "model_type": model, "params": {"steps": 4, **params}}, registry)
    recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=3)
    (result,) = engine.generate([GenerationJob("1", recipe)])
    return result


def test_alphas_and_ranks_of_each_layer_are_as_in_merged_weights(merged, warm_pool):
    plain, lora, whole = (
        paint(merged, warm_pool, model, **params).pixels.astype(int)
        for model, params in (("plain", {}), ("plain", {"lora_name": "kohya"}), ("merged", {}))
    )

    assert np.abs(plain - whole).max() > 20
    assert np.abs(lora - whole).max() <= 1


def test_several_loras_add_up_in_any_order(merged, warm_pool, monkeypatch):
    names = [{"name": "kohya", "weight": 0.4}, {"name": "again", "weight": 0.6}]
    one = paint(merged, warm_pool, "plain", lora_name="kohya")
    reads = []
    monkeypatch.setattr(adapter_switch, "read_adapter", lambda file: reads.append(file) or read_adapter(file))

    both, swapped, plain, again = (
        paint(merged, warm_pool, "plain", **params)
        for params in ({"loras": names}, {"loras": names[::-1]}, {}, {"loras": names})
    )

    assert np.abs(both.pixels.astype(int) - one.pixels).max() <= 1
    assert np.abs(both.pixels.astype(int) - plain.pixels).max() > 20
    assert (both.pixels == swapped.pixels).all()
    assert (both.pixels == again.pixels).all()
    assert [file.name for file in reads] == ["again.safetensors"]
    assert both.recipe == swapped.recipe
    assert [(lora.name, lora.weight) for lora in both.recipe.loras] == [("again", 0.6), ("kohya", 0.4)]
    assert Recipe.from_json(both.recipe.to_json()).digest == both.recipe.digest


def test_a_single_lora_has_one_recipe_however_it_is_named(merged):
    def planned(**params: object) -> Recipe:
        request = parse_request({"text": "a", "model_type": "plain", "params": params}, merged)
        return plan_recipe(request, registry=merged, engine_kind="eager/cpu/float32", seed=3)

    one = planned(lora_name="kohya", lora_weight=0.5)

    assert planned(loras=[{"name": "kohya", "weight": 0.5}]) == one
    assert planned(loras=[]) == planned()
    assert '"loras"' not in one.to_json()


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"loras": [{"name": "kohya"}, {"name": "kohya"}]}, "params.loras: 'kohya' twice"),
        ({"loras": [{"name": "kohya"}], "lora_name": "again"}, "params.loras: given beside lora_name"),
        (
            {"loras": [{"name": "again"}, {"name": "kohyo"}]},
            "params.loras.1.name: LoRA of model 'plain': 'kohyo' is not",
        ),
        ({"loras": [{"name": "kohya", "weight": 5}]}, "params.loras.0.weight: 5 is above the maximum of 4.0"),
        ({"loras": "kohya"}, "params.loras: "),
    ],
)
def test_what_is_wrong_with_loras_is_named_by_place(merged, params, problem):
    with pytest.raises(InvalidRequestError) as refused:
        parse_request({"text": "a", "model_type": "plain", "params": params}, merged)

    assert str(refused.value).startswith(problem)


def write(file: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, file, metadata)
    return file


@pytest.mark.parametrize(
    ("kind", "odd", "shape"),
    [
        ("an IA³", f"{LAYER}.on_input", ()),
        ("an IA³", "base_model.model.mid_block.attentions.0.to_k.ia3_l", (64, 1)),
        ("a GLoRA", f"{LAYER}.a1.weight", (4, 4)),
        ("an OFT", f"{LAYER}.oft_blocks", (4, 4, 4)),
        ("an OFT", f"{LAYER}.boft_blocks", (4, 4, 4)),
        ("an OFT", "base_model.model.mid_block.attentions.0.to_q.oft_R.weight", (4, 4)),
        ("a T-LoRA", f"{LAYER}.lambda_layer", (4,)),
        ("a LoRA with biases of its own", f"{LAYER}.lora_up.bias", (64,)),
        ("an embedding, or holds one", "bundle_emb.cat.string_to_param.*", (2, 64)),
    ],
)
def test_a_kind_that_is_not_read_is_refused_by_name(tmp_path, kind, odd, shape):
    problem = adapter_problem(write(tmp_path / "odd.safetensors", {odd: shape} | PLAIN))

    assert problem == (
        f"it is {kind} (it holds {odd}), which is not read here: it would paint wrong. "
        "Use a LoRA, LoCon, LoHa, LoKr or DoRA."
    )


def layer(*roles: str) -> list[str]:
    return [f"{LAYER}.{role}" for role in roles]


KOHYA = layer("lora_down.weight", "lora_up.weight", "alpha")
LOHA = layer("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha")
READ = {
    "kohya": KOHYA,
    "LoCon with a middle": [*KOHYA, *layer("lora_mid.weight")],
    "DoRA": [*KOHYA, *layer("dora_scale")],
    "LoHa": LOHA,
    "LoHa in Tucker's form": [*LOHA, *layer("hada_t1", "hada_t2", "dora_scale")],
    "LoKr": layer("lokr_w1", "lokr_w2", "alpha"),
    "LoKr of two products": layer("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha"),
    "full": layer("diff", "diff_b"),
    "norm": layer("w_norm", "b_norm"),
    "PEFT": ["base_model.model.mid_block.x.lora_A.weight", "base_model.model.mid_block.x.lora_B.weight"],
    "PEFT, a running one": ["mid_block.x.lora_A.default.weight", "mid_block.x.lora_B.default.weight"],
    "diffusers": ["unet.x.lora.down.weight", "unet.x.lora.up.weight"],
    "diffusers' DoRA": [f"text_encoder.y.{end}" for end in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")],
}


@pytest.mark.parametrize("dialect", READ)
def test_a_file_is_used_whole_or_refused(dialect):
    names = READ[dialect]
    assert {name for tensors in read_layers(names).values() for name in tensors.values()} == set(names)

    for odd in (f"{LAYER}.surprise", "surprise", f"{names[0]}.surprise"):
        with pytest.raises(ModelLoadError, match=f"^it holds {re.escape(odd)}, which is no part of an adapter"):
            read_layers([*names, odd])


@pytest.mark.parametrize("dialect", READ)
def test_a_change_that_lacks_a_part_is_refused(dialect):
    names = READ[dialect]
    optional = (
        "alpha",
        "dora_scale",
        "lora_magnitude_vector",
        "diff",
        "diff_b",
        "w_norm",
        "b_norm",
        "_mid.weight",
        "t2",
    )
    for lost in (name for name in names if not name.endswith(optional)):
        with pytest.raises(ModelLoadError, match=r"Get it again\.$"):
            read_layers([name for name in names if name != lost])


def test_what_peft_says_and_is_not_followed_is_refused(tmp_path):
    pair = {"unet.x.lora_A.weight": (4, 64), "unet.x.lora_B.weight": (64, 4)}

    def said(**settings: object) -> str | None:
        metadata = {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in settings.items()})}
        return adapter_problem(write(tmp_path / f"{len(str(settings))}.safetensors", pair, metadata))

    assert said(r=4, lora_alpha=8, use_rslora=True) is None
    assert said(peft_type="OFT", r=4) == "PEFT's configuration says peft_type OFT, which is not read here. Use a LoRA."
    assert said(init_lora_weights="pissa_niter_4").startswith(
        "PEFT's configuration says init_lora_weights pissa_niter_4, which is not followed here"
    )


def test_a_file_that_is_none_says_what_it_is(tmp_path):
    file = tmp_path / "bad.safetensors"
    whole = write(tmp_path / "whole.safetensors", PLAIN).read_bytes()
    for content, text in {
        b"": "its file is empty. Get it again.",
        b"\xff" * 100: "its file is no .safetensors file, or damaged: it has no header. Get it again.",
        b"\x02"
        + bytes(7)
        + b"[]": "its file is no .safetensors file, or damaged: its header makes no sense. Get it again.",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "its file is a pointer of Git LFS",
        b"<!DOCTYPE html><html>": "its file is a web page",
        b"PK\x03\x04" + bytes(100): "its file is a pickle in a ZIP archive",
        whole[:-5]: f"its file was cut off: it has {len(whole) - 5:,} of {len(whole):,} bytes. Get it again.",
        whole[:30]: "its file was cut off within its header",
    }.items():
        file.write_bytes(content)
        assert adapter_problem(file).startswith(text)
        file.unlink()


BASES = {
    "Flux.1": ("transformer.single_transformer_blocks.0.attn.to_q", (16, 3072)),
    "Stable Diffusion XL": ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", (4, 2048)),
    "Stable Diffusion 1.x": ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", (4, 768)),
    "Stable Diffusion 2.x": ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v", (4, 1024)),
    "Stable Diffusion 3": ("lora_unet_joint_blocks_0_x_block_attn_qkv", (4, 1536)),
    "Qwen-Image": ("transformer.transformer_blocks.0.attn.to_q", (4, 3072)),
    "Z-Image": ("diffusion_model.layers.0.attention.to_q", (4, 3840)),
    "Wan": ("diffusion_model.blocks.0.self_attn.q", (4, 5120)),
}


@pytest.mark.parametrize("base", BASES)
def test_a_lora_of_another_base_says_so_before_anything_is_loaded(cards, base):
    name, down = BASES[base]
    ends = ("lora_down", "lora_up") if name.startswith("lora_") else ("lora_A", "lora_B")
    write(cards / "odd.safetensors", {f"{name}.{ends[0]}.weight": down, f"{name}.{ends[1]}.weight": (64, down[0])})

    with pytest.raises(InvalidRequestError) as refused:
        parse_request({"text": "a", "params": {"lora_name": "odd"}}, ModelRegistry.load([cards], "one"))

    assert str(refused.value) == (
        f"params.lora_name: LoRA 'odd' of model 'one': it is made for {base}, and model 'one' is "
        "Stable Diffusion 1.x or Stable Diffusion 2.x. Use one made for that."
    )


def test_a_lora_of_another_base_is_refused_too_where_the_model_has_no_unet(tmp_path):
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux/model_index.json").write_text('{"transformer": ["diffusers", "FluxTransformer2DModel"]}')
    (tmp_path / "one.yaml").write_text("family: flux\nsource: flux\nloras: {odd: odd.safetensors}\n")
    name, down = BASES["Stable Diffusion XL"]
    pair = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": (64, down[0])}
    write(tmp_path / "odd.safetensors", pair)

    with pytest.raises(InvalidRequestError, match="it is made for Stable Diffusion XL, and model 'one' is Flux.1."):
        parse_request({"text": "a", "params": {"lora_name": "odd"}}, ModelRegistry.load([tmp_path], "one"))


@pytest.fixture
def cards(random_models, tmp_path) -> Path:
    source = random_models.folder / "sd"
    card = f"family: sd\nsource: {source}\ndefault_resolution: 64×64\nloras: {{odd: odd.safetensors}}\n"
    (tmp_path / "one.yaml").write_text(card)
    return tmp_path


def test_layers_that_the_model_does_not_have_are_not_left_out_in_silence(cards, warm_pool):
    absent = LAYER.replace("blocks_1", "blocks_7")
    write(cards / "odd.safetensors", PLAIN | {name.replace(LAYER, absent): shape for name, shape in PLAIN.items()})

    result = paint(ModelRegistry.load([cards], "one"), warm_pool, "one", lora_name="odd")

    assert isinstance(result, FailedImage)
    assert re.match(r"LoRA 'odd.safetensors' does not fit model '\w+': the model has no layer unet.down_", result.error)
    assert len(result.error) <= 600


def test_a_layer_of_another_shape_is_refused_with_both(cards, warm_pool):
    wide = {name: tuple(65 if side == 64 else side for side in shape) for name, shape in PLAIN.items()}
    write(cards / "odd.safetensors", wide)

    result = paint(ModelRegistry.load([cards], "one"), warm_pool, "one", lora_name="odd")

    assert isinstance(result, FailedImage)
    assert result.error.endswith("it is for a layer of 65×65, and the model's has 64×64")


def test_union_controlnets_are_refused_by_name(random_models, tmp_path, warm_pool):
    unet = UNet2DConditionModel.from_pretrained(random_models.folder / "sd/unet")
    write(tmp_path / "union.safetensors", {"task_embedding": (6, 320), "control_add_embedding.linear_1.weight": (4, 4)})
    with pytest.raises(ModelLoadError, match=r"^union.safetensors is a Union ControlNet \(it holds control_add_emb"):
        load_controlnet_file(tmp_path / "union.safetensors", unet, torch.float32)

    shutil.copytree(random_models.folder / "controlnet", tmp_path / "union")
    config = tmp_path / "union/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_control_type": 6}))
    source = random_models.folder / "sd"
    card = (
        f"family: sd\nsource: {source}\ncontrolnet: union\nmodes: [text2img, controlnet]\ndefault_resolution: 64×64\n"
    )
    (tmp_path / "one.yaml").write_text(card)
    result = paint(ModelRegistry.load([tmp_path], "one"), warm_pool, "one")
    assert "union is a Union ControlNet (it holds num_control_type)" in result.error


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        ({"image_proj.proj.weight": (4, 4), "ip_adapter.1.to_k_ip.weight": (4, 4)}, "IP-Adapter"),
        ({"image_proj.proj.weight": (4, 4), "ip_adapter.0.to_q_lora.down.weight": (4, 4)}, "IP-Adapter"),
        ({"adapter.body.0.resnets.0.block1.weight": (4, 4)}, "T2I-adapter"),
        ({"controlnet_cond_embedding.conv_in.weight": (4, 4)}, "ControlNet"),
        ({"decoder.conv_in.weight": (4, 4)}, "VAE"),
    ],
)
def test_a_file_of_another_kind_is_refused_as_an_adapter_by_its_kind(cards, tensors, kind):
    write(cards / "odd.safetensors", tensors)

    with pytest.raises(InvalidRequestError) as refused:
        parse_request({"text": "a", "params": {"lora_name": "odd"}}, ModelRegistry.load([cards], "one"))

    start = "params.lora_name: LoRA 'odd' of model 'one': the file is no adapter of weights, but: "
    assert str(refused.value).startswith(start + kind)
