import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from configs.settings import EngineSettings
from models.admission import parse_request
from models.architectures import clip_merges, clip_vocabulary, read_architecture, write_configuration
from models.denoising.sampling import Sampling
from models.denoising.unet_model import UNetModel
from models.engine import BatchingEngine, GenerationJob
from models.errors import ModelLoadError
from models.families.single_file import single_file_configuration
from models.image import GeneratedImage, InputPicture
from models.noise_schedule import NoiseSchedule
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Sampler
from tests.models.families.original_layout import write_controlnet_file, write_single_file
from tests.support.recipes import a_recipe

CONTROLLED = "family: sd\nsource: {source}\ncontrolnet: {controlnet}\nmodes: [controlnet]\ndefault_resolution: 64×64\n"
CARD = "family: {family}\nsource: {file}\nconfig: {config}\ndefault_resolution: 64×64\n"
PIPELINES = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}


@pytest.fixture(scope="module")
def single_files(random_models, tmp_path_factory) -> Path:
    """`sd.safetensors` and `sdxl.safetensors`, with a folder of the configuration of each."""
    folder = tmp_path_factory.mktemp("single_files")
    for family, kind in PIPELINES.items():
        options = {"safety_checker": None, "requires_safety_checker": False} if family == "sd" else {}
        write_single_file(
            kind.from_pretrained(random_models.folder / family, **options), folder / f"{family}.safetensors"
        )
        shutil.copytree(random_models.folder / family, folder / family, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def paint(folder: Path, model: str) -> GeneratedImage:
    registry = ModelRegistry.load([folder], model)
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), PipelinePool())
    data = {"text": "a red shoe", "model_type": model, "params": {"resolution": "64x64", "steps": 2}}
    controls = []
    if registry.card(model).controlnet:
        controls = [InputPicture("0" * 64, lambda: Image.linear_gradient("L").convert("RGB"))]
        data["control_image_url"] = "control"
    request = parse_request(data, registry)
    kind = engine.kind(model, request.params.resolution)
    recipe = plan_recipe(request, registry=registry, engine_kind=kind, seed=3, controls=controls)
    (result,) = engine.generate([GenerationJob("1", recipe, controls=controls)])
    return result


@pytest.mark.parametrize("family", PIPELINES)
def test_a_single_file_paints_what_the_folder_it_was_made_from_does(random_models, single_files, tmp_path, family):
    file, config = single_files / f"{family}.safetensors", single_files / family
    (tmp_path / "one.yaml").write_text(CARD.format(family=family, file=file, config=config))
    (tmp_path / "many.yaml").write_text(
        f"family: {family}\nsource: {random_models.folder / family}\ndefault_resolution: 64×64\n"
    )

    one, many = paint(tmp_path, "one"), paint(tmp_path, "many")

    assert isinstance(one, GeneratedImage), one
    assert np.abs(one.pixels.astype(int) - many.pixels).max() <= 1
    assert one.recipe.release != many.recipe.release


def test_the_release_follows_the_file_and_its_configuration(single_files, tmp_path, monkeypatch):
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", -1.0)
    shutil.copytree(single_files, tmp_path, dirs_exist_ok=True)
    (tmp_path / "one.yaml").write_text(CARD.format(family="sd", file="sd.safetensors", config="sd"))
    registry = ModelRegistry.load([tmp_path], "one")
    first = registry.release("one")
    assert ModelRegistry.load([tmp_path], "one").release("one") == first

    scheduler = tmp_path / "sd/scheduler/scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"prediction_type": "v_prediction"}))
    second = registry.release("one")
    save_file({**load_file(tmp_path / "sd.safetensors"), "extra": torch.zeros(1)}, tmp_path / "sd.safetensors")

    assert len({first, second, registry.release("one")}) == 3


def test_a_file_that_is_missing_no_checkpoint_or_of_another_family_is_a_clear_error(single_files, tmp_path):
    def failure(source: Path, family: str = "sd") -> str:
        (tmp_path / "one.yaml").write_text(f"family: {family}\nsource: {source}\ndefault_resolution: 64×64\n")
        return paint(tmp_path, "one").error

    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    weights = load_file(single_files / "sd.safetensors")
    save_file(
        {
            name.replace("cond_stage_model.transformer.", "cond_stage_model.model."): one
            for name, one in weights.items()
        },
        tmp_path / "two.safetensors",
    )

    assert failure(tmp_path / "other.safetensors") == (
        f"model 'one' cannot be loaded from {tmp_path}/other.safetensors: other.safetensors is no Stable Diffusion "
        "checkpoint in one file: it has no model.diffusion_model.input_blocks.0.0.weight"
    )
    assert failure(single_files / "sdxl.safetensors").endswith(
        "the file holds a checkpoint of sdxl, but the card says family sd. Use family: sdxl."
    )
    assert failure(tmp_path / "two.safetensors").endswith(
        "the file holds a checkpoint of Stable Diffusion 2.x, but the card says family sd. "
        "Name its configuration in `config`."
    )
    (tmp_path / "one.yaml").write_text("family: sd\nsource: folder/none.safetensors\n")
    with pytest.raises(
        ModelLoadError, match=r"^model 'one': no file .*none\.safetensors\. Put the checkpoint there, or "
    ):
        ModelRegistry.load([tmp_path], "one").release("one")


@pytest.mark.parametrize("family", PIPELINES)
def test_the_built_in_architecture_is_a_complete_configuration(tmp_path, family):
    write_configuration(read_architecture(family), tmp_path)

    config = UNet2DConditionModel.load_config(tmp_path / "unet")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    millions = round(sum(weight.numel() for weight in unet.parameters()) / 1e6)
    assert millions == {"sd": 860, "sdxl": 2567}[family]
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    # The ids that CLIP's own tokenizer gives.
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(tokenizer) == 49408


def test_clips_vocabulary_has_every_joined_pair_once():
    merges = clip_merges()
    vocabulary = clip_vocabulary(merges)

    assert (len(merges), len(vocabulary)) == (48894, 49408)
    assert vocabulary["<|endoftext|>"] == 49407


@pytest.mark.parametrize("layout", ["control_model.", "", "diffusers"])
def test_a_controlnet_in_one_file_of_any_layout_paints_what_its_folder_does(random_models, tmp_path, layout):
    folder, file = random_models.folder / "controlnet", tmp_path / "control.safetensors"
    controlnet = ControlNetModel.from_pretrained(folder)
    if layout == "diffusers":
        save_file(controlnet.state_dict(), file)
    else:
        write_controlnet_file(controlnet, file, layout)
    source = random_models.folder / "sd"
    (tmp_path / "one.yaml").write_text(CONTROLLED.format(source=source, controlnet=file))
    (tmp_path / "many.yaml").write_text(CONTROLLED.format(source=source, controlnet=folder))

    one, many = paint(tmp_path, "one"), paint(tmp_path, "many")

    assert isinstance(one, GeneratedImage), one
    assert np.array_equal(one.pixels, many.pixels)
    assert one.recipe.release != many.recipe.release


def test_a_file_that_is_missing_or_no_controlnet_of_this_checkpoint_is_a_clear_error(random_models, tmp_path):
    def failure() -> str:
        return paint(tmp_path, "one").error

    file = tmp_path / "control.safetensors"
    text = CONTROLLED.format(source=random_models.folder / "sd", controlnet=file)
    (tmp_path / "one.yaml").write_text(text)
    with pytest.raises(ModelLoadError) as caught:
        ModelRegistry.load([tmp_path], "one").release("one")
    assert str(caught.value) == (
        f"model 'one': no file {file}. Put the checkpoint there, or name another `controlnet` in {tmp_path}/one.yaml."
    )

    save_file({"weight": torch.zeros(1)}, file)
    assert failure().endswith(
        "control.safetensors is no ControlNet in one file: it has no control_model.input_hint_block.0.weight"
    )
    write_controlnet_file(ControlNetModel.from_pretrained(random_models.folder / "controlnet"), file)
    weights = load_file(file)
    save_file({name: weight for name, weight in weights.items() if "middle_block.1" not in name}, file)
    assert failure().endswith(
        "control.safetensors is no ControlNet for this checkpoint: it lacks some of the weights. One of another "
        "architecture needs a folder in the diffusers layout."
    )


@pytest.mark.parametrize(
    ("names", "metadata", "told"),
    [
        ([], {}, {"prediction_type": "epsilon"}),
        ([], {"modelspec.title": "XL Turbo", "modelspec.prediction_type": "v"}, {"timestep_spacing": "trailing"}),
        (["ztsnr", "v_pred"], {}, {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    ],
)
def test_a_files_schedule_is_in_its_configuration(tmp_path, names, metadata, told):
    first = {"model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3), "conditioner.embedders.1.x": (1,)}
    tensors = {name: torch.zeros(shape) for name, shape in (first | dict.fromkeys(names, (1,))).items()}
    save_file(tensors, tmp_path / "one.safetensors", metadata)
    (tmp_path / "one.yaml").write_text("family: sdxl\nsource: one.safetensors\n")

    with single_file_configuration(ModelRegistry.load([tmp_path], "one").card("one")) as folder:
        config = json.loads((folder / "scheduler/scheduler_config.json").read_text())

    assert told.items() <= config.items()
    assert (config["clip_sample"], config["set_alpha_to_one"]) == (False, False)


@pytest.mark.parametrize(
    ("steps", "times"), [(1, [999]), (4, [999, 749, 499, 249]), (10, [901, 801, 701, 601, 501, 401, 301, 201, 101, 1])]
)
def test_short_runs_of_sdxl_start_at_pure_noise(steps, times):
    model = UNetModel.__new__(UNetModel)
    model.is_xl, model.schedule = True, read_architecture("sdxl")["parts"]["scheduler"]["config"]
    model._noise = NoiseSchedule.of(model.schedule | {"_class_name": "EulerDiscreteScheduler"})
    recipe = a_recipe(steps=steps, sampler=Sampler.EULER)

    assert Sampling(recipe, model.schedule, model.layout(recipe)).timesteps.tolist() == times


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["adapter.body.0.resnets.0.block1.weight"], "T2I-adapters are not run here: use a ControlNet"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "IP-Adapters are not run here: use a ControlNet"),
        (["lora_controlnet", "input_blocks.0.0.weight"], "it is a Control-LoRA, which is not run here"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "but: VAE"),
    ],
)
def test_a_file_that_leads_in_another_way_is_named_where_a_card_takes_it_for_a_controlnet(
    random_models, tmp_path, names, rule
):
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "other.safetensors")
    text = CONTROLLED.format(source=random_models.folder / "sd", controlnet=tmp_path / "other.safetensors")
    (tmp_path / "one.yaml").write_text(text)

    assert f"other.safetensors is no ControlNet in one file: {rule}" in paint(tmp_path, "one").error


def test_a_folder_of_another_network_is_named_where_a_card_takes_it_for_a_controlnet(random_models, tmp_path):
    (tmp_path / "t2i").mkdir()
    (tmp_path / "t2i/config.json").write_text('{"_class_name": "T2IAdapter"}')
    save_file({"x": torch.ones(1)}, tmp_path / "t2i/diffusion_pytorch_model.safetensors")
    text = CONTROLLED.format(source=random_models.folder / "sd", controlnet=tmp_path / "t2i")
    (tmp_path / "one.yaml").write_text(text)

    assert "t2i holds a T2IAdapter, which is not run here: use a ControlNet" in paint(tmp_path, "one").error
