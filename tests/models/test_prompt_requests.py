"""Prompts in A1111's syntax from the request to the picture, and in cards that do not say it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.settings import EngineSettings
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError, ModelLoadError
from models.image import GeneratedImage
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry

INK = torch.randn(2, 32, generator=torch.Generator().manual_seed(6))


@pytest.fixture
def cards(random_models, tmp_path):
    """Writes a card of the random model with more fields, and gives the registry."""

    def write(name: str = "one", **fields: object) -> ModelRegistry:
        lora = random_models.folder / "bold.safetensors"
        whole = {"family": "sd", "source": random_models.folder / "sd", "loras": {"bold": lora, "faint": lora}}
        (tmp_path / f"{name}.yaml").write_text(
            json.dumps({**whole, "default_resolution": "64×64", **fields}, default=str)
        )
        return ModelRegistry.load([tmp_path], name)

    save_file({"emb_params": INK}, tmp_path / "ink.safetensors")
    return write


def painted(registry: ModelRegistry, pool, text: str, **params: object) -> GeneratedImage:
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), pool)
    request = parse_request({"text": text, "params": {"steps": 2, **params}}, registry)
    kind = engine.kind(registry.default_model, request.params.resolution)
    recipe = plan_recipe(request, registry=registry, engine_kind=kind, seed=3)
    (result,) = engine.generate([GenerationJob("1", recipe)])
    assert isinstance(result, GeneratedImage), result
    return result


def test_a_lora_in_the_prompt_is_one_of_the_request(cards):
    registry = cards(prompt_syntax="a1111")

    def asked(text: str, **params: object) -> tuple[str, list[tuple[str, float]]]:
        request = parse_request({"text": text, "params": params}, registry)
        again = parse_request(json.loads(request.model_dump_json()), registry)
        assert again == request
        return request.text, [(one.name, one.weight) for one in request.params.chosen_loras]

    bold, faint = ("bold", 0.5), ("faint", 2.0)
    assert asked("a (mug:1.2) <lora:bold:0.5>") == ("a (mug:1.2)", [bold])
    assert asked("<lora:bold:0.5> a mug", lora_name="faint", lora_weight=2.0) == ("a mug", [faint, bold])
    assert asked("a mug<lora:bold:0.5>", loras=[{"name": "faint", "weight": 2.0}]) == ("a mug", [faint, bold])


@pytest.mark.parametrize(
    ("data", "field", "rule"),
    [
        ({"text": "a <lora:wings:1>"}, "params.loras.0.name", "'wings' is not one of bold, faint"),
        ({"text": "<lora:bold:1> a <lora:bold:0.2>"}, "params.loras", "'bold' twice"),
        ({"text": "a <lora:bold:9>"}, "params.loras.0.weight", "9.0 is above the maximum of 4"),
        ({"text": "a <hypernet:bold:1>"}, "text", "<hypernet:…> is not carried out here"),
        ({"text": "<lora:bold:1>"}, "text", "blank"),
        ({"text": "a AND b"}, "text", "AND joins prompts"),
        ({"text": "[a|b]"}, "text", "would change the prompt while the picture is made"),
        ({"text": "a", "params": {"negative_text": "<lora:bold:1>"}}, "params.negative_text", "names a LoRA"),
    ],
)
def test_what_a_prompt_cannot_ask_for_is_refused_at_submission(cards, data, field, rule):
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(data, cards(prompt_syntax="a1111"))

    assert [problem.field for problem in refused.value.problems] == [field]
    assert rule in refused.value.problems[0].rule


def test_without_the_syntax_every_letter_is_text(cards):
    text = "a (mug:1.2) <lora:wings:1> AND [a|b]"
    request = parse_request({"text": text}, cards())

    assert (request.text, request.params.chosen_loras) == (text, ())


def test_pictures_follow_the_syntax_and_the_release_all_that_it_reads(cards, warm_pool, tmp_path):
    plain = painted(cards(), warm_pool, "a (ink:1.4) mug")
    weighed = painted(cards("two", prompt_syntax="a1111"), warm_pool, "a (ink:1.4) mug")
    unweighed = painted(cards("two", prompt_syntax="a1111"), warm_pool, "a ink mug")
    inked = painted(
        cards("three", prompt_syntax="a1111", embeddings={"ink": tmp_path / "ink.safetensors"}), warm_pool, "a ink mug"
    )
    skipped = painted(cards("four", clip_skip=2), warm_pool, "a ink mug")
    pictures = [plain, weighed, unweighed, inked, skipped]

    assert len({picture.recipe.release for picture in pictures}) == 4
    assert len({picture.pixels.tobytes() for picture in pictures}) == 5
    letters = painted(cards(), warm_pool, "a ink mug")
    assert np.array_equal(letters.pixels, unweighed.pixels)
    save_file({"emb_params": INK * 2}, tmp_path / "ink.safetensors")
    assert ModelRegistry.load([tmp_path], "three").release("three") != inked.recipe.release


def test_a_recipe_that_asks_for_more_than_the_card_reads_fails(cards, warm_pool):
    registry = cards(prompt_syntax="a1111")
    recipe = painted(registry, warm_pool, "a mug").recipe
    changed = Recipe.from_json(recipe.to_json().replace("a mug", "a mug <lora:bold:1>"))
    (failed,) = BatchingEngine(registry, EngineSettings(device="cpu"), warm_pool).generate(
        [GenerationJob("1", changed)]
    )

    assert "a LoRA is named after it was to be taken out (<lora:bold:1>)" in failed.error


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"embeddings": {"ink": "ink.safetensors"}}, "embeddings are named in prompts of prompt_syntax: a1111"),
        ({"family": "diffusers", "loras": {}, "clip_skip": 2}, "family diffusers takes prompts as plain text"),
        ({"prompt_syntax": "comfy"}, "prompt_syntax"),
        ({"clip_skip": 0}, "clip_skip"),
    ],
)
def test_a_card_that_cannot_be_kept_says_so(cards, fields, rule):
    cards()
    registry = cards("wrong", **fields)

    assert rule in registry.bad_cards[0].reason


def test_an_embedding_that_is_missing_or_of_another_model_is_named(cards, warm_pool, tmp_path):
    with pytest.raises(ModelLoadError, match=r"^embedding 'ink' of model 'one': no file .*none\.pt\.$"):
        cards(prompt_syntax="a1111", embeddings={"ink": tmp_path / "none.pt"}).release("one")
    save_file({"emb_params": torch.ones(2, 5)}, tmp_path / "wide.safetensors")
    registry = cards("two", prompt_syntax="a1111", embeddings={"ink": tmp_path / "wide.safetensors"})
    with pytest.raises(
        AssertionError, match="embedding wide.safetensors is for text encoders of width 5; 32 is needed"
    ):
        painted(registry, warm_pool, "a mug")
