"""Diffusion transformers through the whole engine: what they refuse, LoRAs, company, and who waits for whom."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.settings import EngineSettings
from models.admission import parse_request
from models.batching.runner import FamilyRunner
from models.card import read_card
from models.denoising import dit_model
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError
from models.image import GeneratedImage
from models.pipeline_pool import PipelinePool
from models.placement import choose_placement
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Priority
from tests.support.dit_workbench import KINDS
from tests.support.listening import Waiting
from tests.support.transformer_factory import build_random_z_image

FAMILIES = {"schnell": "flux", "dev": "flux", "dev_true_cfg": "flux", "z_image": "z_image"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    for name, family in FAMILIES.items():
        KINDS[name].build(folder / name)
        options = f"options: {dict(KINDS[name].options)}\n" if KINDS[name].options else ""
        loras = f"loras: {{bold: {folder}/bold.safetensors, whole: {folder}/whole.safetensors}}\n"
        card = f"family: {family}\nsource: {name}\nmodes: [text2img, img2img]\ndefault_resolution: 64×64\n{options}"
        (folder / f"{name}.yaml").write_text(card + (loras if name == "dev" else ""), encoding="utf-8")
    write_loras(folder)
    return ModelRegistry.load([folder], "dev")


def write_loras(folder):
    """One change of joined projections, by diffusers' names and by those of the original code."""
    torch.manual_seed(3)
    downs, ups = torch.randn(2, 4, 32), torch.randn(3, 32, 4)
    apart, joined = {}, {}
    for name, up in zip(("to_q", "to_k", "to_v"), ups, strict=True):
        layer = f"transformer.transformer_blocks.0.attn.{name}"
        apart |= {f"{layer}.lora_A.weight": downs[0], f"{layer}.lora_B.weight": up}
    joined["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"] = downs[0]
    joined["lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight"] = torch.cat([*ups])
    joined["lora_unet_double_blocks_0_img_attn_qkv.alpha"] = torch.tensor(4.0)
    save_file({name: tensor.clone() for name, tensor in apart.items()}, folder / "bold.safetensors")
    save_file(joined, folder / "whole.safetensors")


@pytest.fixture(scope="module")
def pool():
    return PipelinePool()


@pytest.fixture
def engine(registry, pool):
    return BatchingEngine(registry, EngineSettings(device="cpu", max_warm_models=4), pool)


@pytest.fixture
def job(registry):
    def make(id, model="dev", **params) -> GenerationJob:
        request = parse_request({"text": "a red shoe", "model_type": model, "params": {"steps": 3, **params}}, registry)
        kind = "eager/cpu/float32"
        return GenerationJob(str(id), plan_recipe(request, registry=registry, engine_kind=kind, seed=int(id)))

    return make


def pixels(engine, *jobs) -> dict[str, np.ndarray]:
    results = {result.id: result for result in engine.generate(jobs)}
    assert all(isinstance(result, GeneratedImage) for result in results.values()), results
    return {id: result.pixels.astype(int) for id, result in results.items()}


@pytest.mark.parametrize(
    ("model", "params", "problem"),
    [
        (
            "dev",
            {"negative_text": "blur"},
            "model 'dev' takes no negative prompt: it would have no effect. Leave it out.",
        ),
        ("schnell", {"cfg_scale": 3.5}, "model 'schnell' takes no guidance: 3.5 would have no effect. Leave it out."),
        (
            "dev_true_cfg",
            {"negative_text": "blur", "cfg_scale": 1.0},
            "no effect at cfg_scale 1 on model 'dev_true_cfg'. Leave it out, or ask for more than 1.",
        ),
        (
            "dev",
            {"resolution": "72x64"},
            "width 72, height 64 for model 'dev': both must be multiples of 16. Nearest: 64×64.",
        ),
        (
            "dev",
            {"sampler": "DDIM"},
            "model 'dev' does not run it: 'DDIM' is not one of Euler, DPM++ 2M, UniPC, Heun.",
        ),
        ("dev", {"schedule": "trailing"}, "model 'dev' has noise levels of its own. Leave it out."),
    ],
)
def test_what_would_have_no_effect_is_refused_at_submission(registry, model, params, problem):
    with pytest.raises(InvalidRequestError) as refused:
        parse_request({"text": "a shoe", "model_type": model, "params": params}, registry)

    assert problem in str(refused.value)


def test_a_distilled_model_gets_no_guidance_where_none_is_asked_for(registry):
    request = parse_request({"text": "a shoe", "model_type": "schnell"}, registry)

    assert request.params.cfg_scale == 0.0


def test_a_mixed_list_gives_each_job_its_picture_as_alone(engine, job):
    jobs = [
        job(place, steps=2 + place, cfg_scale=1.0 + place, resolution=("64x64", "80x64")[place % 2], **changes)
        for place, changes in enumerate([{}, {"sampler": "UniPC"}, {}, {"sampler": "Heun"}])
    ]

    together = pixels(engine, *jobs)

    for one in jobs:
        assert np.abs(pixels(engine, one)[one.id] - together[one.id]).max() <= 1, one.recipe


def test_a_lora_is_the_same_by_its_own_and_by_the_original_names(engine, job):
    plain, bold, whole = (pixels(engine, job(1, **given))["1"] for given in ({}, BOLD, {"lora_name": "whole"}))

    assert np.abs(bold - plain).max() > 1
    assert np.abs(bold - whole).max() <= 1
    assert np.array_equal(pixels(engine, job(1))["1"], plain)


BOLD = {"lora_name": "bold"}


def test_an_interactive_request_waits_no_more_than_a_step_of_a_long_one(engine, job):
    heard = Waiting()
    long = engine.submit(job(1, steps=200), heard, Priority.BULK)
    heard.wait_for(lambda: heard.steps)
    before = len(heard.steps)
    engine.submit(job(2, steps=2), heard)
    heard.wait_for(lambda: "2" in heard.results)
    meanwhile = [step for step in heard.steps[before:] if step[0] == "1"]
    engine.cancel(long)
    heard.wait_for(lambda: len(heard.results) == 2)

    first = next(place for place, step in enumerate(heard.steps) if step[0] == "2")
    assert isinstance(heard.results["2"], GeneratedImage)
    assert heard.results["1"].error == "cancelled"
    assert len([step for step in heard.steps[before:first] if step[0] == "1"]) <= 2
    assert len(meanwhile) < 150


def test_a_pass_is_bounded_by_tokens_and_not_by_pictures(registry, job):
    runner = FamilyRunner(registry, EngineSettings(device="cpu", max_batch_tokens=64), PipelinePool())

    assert runner.token_limit() == 64
    assert runner.tokens(job(1, resolution="64x128").recipe) == 32
    assert runner.tokens(job(1, "dev_true_cfg", resolution="64x64", cfg_scale=4.0).recipe) == 32
    assert runner.group(job(1, resolution="64x64").recipe) == runner.group(job(2, resolution="80x64").recipe)


def test_encoders_are_brought_back_where_they_are_kept():
    encoder, moves = torch.nn.Linear(1, 1), []

    class Kept:
        device = torch.device("cpu")

        def to(self, device):
            self.device = torch.device(device)
            moves.append(str(device))

    class Pipeline:
        components: ClassVar = {"text_encoder": Kept(), "text_encoder_2": None}

    with dit_model.encoders_on(torch.device("meta"), Pipeline):
        assert moves == ["meta"]
    assert moves == ["meta", "cpu"]
    assert encoder is not None


def test_a_transformer_computes_in_bfloat16_on_a_gpu(registry, monkeypatch):
    monkeypatch.setattr("models.placement.choose_device", lambda wanted: "cuda")

    assert choose_placement(registry.card("dev"), EngineSettings()).dtype == "bfloat16"
    assert choose_placement(registry.card("z_image"), EngineSettings(offload="encoders")).offload == "encoders"


def test_a_card_asks_for_no_float16_where_pictures_would_be_black(tmp_path):
    for family in ("z_image", "qwen_image", "sd3"):
        (tmp_path / f"{family}.yaml").write_text(f"family: {family}\nsource: weights\ndtype: float16\n")
    (tmp_path / "mine.yaml").write_text("family: sd\nsource: weights\n")

    registry = ModelRegistry.load([tmp_path], "mine")

    assert registry.names == ("mine", "sd3")
    rule = "dtype float16: its numbers do not fit, and pictures would be black. Use bfloat16 or auto"
    assert [str(card) for card in registry.bad_cards] == [f"{name}.yaml: {rule}" for name in ("qwen_image", "z_image")]


def test_a_card_names_only_solvers_of_flows(tmp_path):
    build_random_z_image(tmp_path / "z")
    (tmp_path / "z.yaml").write_text("family: z_image\nsource: z\nsamplers: [DDIM]\n", encoding="utf-8")

    (problem,) = read_card(tmp_path / "z.yaml", tmp_path)

    assert "family z_image does not run DDIM: Euler, DPM++ 2M, UniPC, Heun" in str(problem)
