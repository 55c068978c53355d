"""LoRA files of every dialect: painted as weights merged with them are, or refused by name."""

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
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError, ModelLoadError
from models.families.single_file import load_controlnet_file
from models.image import FailedImage, GeneratedImage
from models.lora_file import lora_problem
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
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
    (folder / "plain.yaml").write_text(f"family: sd\nsource: {source}\n{size}loras: {{kohya: kohya.safetensors}}\n")
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


def write(file: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, file, metadata)
    return file


DIALECTS = {
    "a DoRA": {f"{LAYER}.dora_scale": (64, 1)},
    "a LoHa": {f"{LAYER}.hada_w1_a": (64, 4)},
    "a LoKr": {f"{LAYER}.lokr_w1": (4, 4)},
    "a LoCon with a middle layer": {f"{LAYER}.lora_mid.weight": (4, 4, 3, 3)},
    "a full difference of weights": {f"{LAYER}.diff": (64, 64)},
    "an IA³": {f"{LAYER}.on_input": ()},
    "a GLoRA": {f"{LAYER}.a1.weight": (4, 4)},
    "an OFT": {f"{LAYER}.oft_blocks": (4, 4, 4)},
    "a LoRA of normalization layers": {f"{LAYER}.w_norm": (64,)},
    "a LoRA with biases": {f"{LAYER}.lora_up.bias": (64,)},
    "an embedding": {"bundle_emb.cat.string_to_param.*": (2, 64)},
    "of an unknown kind": {f"{LAYER}.surprise": (1,)},
}


@pytest.mark.parametrize("kind", DIALECTS)
def test_another_kind_of_adapter_is_refused_by_name(tmp_path, kind):
    ((odd, shape),) = DIALECTS[kind].items()

    problem = lora_problem(write(tmp_path / "odd.safetensors", PLAIN | {odd: shape}))

    assert problem == (
        f"it is {kind} (it holds {odd}), which is not read here: it would paint wrong. Use a plain LoRA."
    )


def test_peft_files_say_their_kind_in_names_or_metadata(tmp_path):
    base = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    pair = {f"{base}.lora_A.weight": (4, 64), f"{base}.lora_B.weight": (64, 4)}
    dora = pair | {f"{base}.lora_magnitude_vector": (64,)}
    settings = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.use_rslora": True})}

    assert lora_problem(write(tmp_path / "plain.safetensors", pair)) is None
    assert lora_problem(write(tmp_path / "dora.safetensors", dora)).startswith(
        "it is a DoRA (it holds unet.down_blocks"
    )
    assert "the setting unet.use_rslora" in lora_problem(write(tmp_path / "rs.safetensors", pair, settings))


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (
            {f"{LAYER}.lora_down.weight": (4, 64)},
            f"it lacks {LAYER}.lora_up.weight: the file is not whole. Get it again.",
        ),
        (
            {"transformer.a.lora_A.weight": (4, 4), "transformer.a.lora_B.weight": (4, 4)},
            "it is for another kind of model: it holds transformer.a.lora_A.weight. Use one for this model's base.",
        ),
        ({"weight": (1,)}, "it is of an unknown kind (it holds weight), which is not read here: "),
    ],
)
def test_what_is_no_whole_lora_of_such_a_model_is_refused(tmp_path, shapes, text):
    assert lora_problem(write(tmp_path / "odd.safetensors", shapes)).startswith(text)


def test_a_damaged_file_is_refused(tmp_path):
    for content in (b"", b"\xff" * 100, b"\x02" + bytes(7) + b"[]"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        assert lora_problem(tmp_path / "bad.safetensors").startswith("its file is no .safetensors file, or damaged")
        (tmp_path / "bad.safetensors").unlink()


@pytest.fixture
def cards(random_models, tmp_path) -> Path:
    source = random_models.folder / "sd"
    card = f"family: sd\nsource: {source}\ndefault_resolution: 64×64\nloras: {{odd: odd.safetensors}}\n"
    (tmp_path / "one.yaml").write_text(card)
    return tmp_path


def test_it_is_refused_at_submission(cards):
    write(cards / "odd.safetensors", PLAIN | {f"{LAYER}.dora_scale": (64, 1)})
    registry = ModelRegistry.load([cards], "one")

    with pytest.raises(
        InvalidRequestError, match=r"^params.lora_name: LoRA 'odd' of model 'one': it is a DoRA \(it holds"
    ):
        parse_request({"text": "a", "params": {"lora_name": "odd"}}, registry)


def test_layers_that_the_model_does_not_have_are_not_left_out_in_silence(cards, warm_pool):
    absent = LAYER.replace("blocks_1", "blocks_7")
    write(cards / "odd.safetensors", PLAIN | {name.replace(LAYER, absent): shape for name, shape in PLAIN.items()})

    result = paint(ModelRegistry.load([cards], "one"), warm_pool, "one", lora_name="odd")

    assert isinstance(result, FailedImage)
    assert re.match(r"LoRA 'odd.safetensors' does not fit model '\w+': 1 of its 2 layers belong", result.error)
    assert len(result.error) <= 600


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
