"""The examples of docs/models.md work as they stand there: a model by a card, a family by a module and a line."""

import re
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from configs.settings import EngineSettings
from models import family_table
from models.admission import parse_request
from models.denoising.texts import Text
from models.engine import BatchingEngine, GenerationJob
from models.families import sd3
from models.image import GeneratedImage
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from tests.docs.documents import ROOT, fences, files
from tests.support.transformer_factory import build_random_sd3

DOCUMENT = ROOT / "docs" / "models.md"


def paint(folder, model: str, **params) -> GeneratedImage:
    registry = ModelRegistry.load([folder], model)
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), PipelinePool())
    data = {"text": "a mug", "params": {"resolution": "64x64", "steps": 1, **params}}
    request = parse_request(data, registry)
    kind = engine.kind(model, request.params.resolution)
    recipe = plan_recipe(request, registry=registry, engine_kind=kind, seed=7)
    (result,) = engine.generate([GenerationJob("1", recipe)])
    engine.release()
    return result


def test_a_model_is_added_by_one_card(random_models, tmp_path):
    card = files(DOCUMENT)["dreamshaper.yaml"]
    # The same card for files that are here.
    card = re.sub(r"source: \S+", f"source: {random_models.folder / 'sd'}", card)
    card = re.sub(r"revision: .*\n", "", card)
    card = card.replace("loras/ink.safetensors", str(random_models.folder / "bold.safetensors"))
    (tmp_path / "dreamshaper.yaml").write_text(card, encoding="utf-8")

    plain, inked = paint(tmp_path, "dreamshaper"), paint(tmp_path, "dreamshaper", lora_name="ink")

    assert plain.pixels.shape == (64, 64, 3)
    assert (plain.pixels != inked.pixels).any()


def test_a_family_is_added_by_one_module_and_one_line(tmp_path, monkeypatch: pytest.MonkeyPatch):
    text = DOCUMENT.read_text(encoding="utf-8")
    module_code, line, _ = [body for language, body in fences(text) if language == "python"]
    module = ModuleType("models.families.flat")
    exec(module_code, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, entry in eval(f"{{{line}}}", dict(vars(family_table))).items():
        monkeypatch.setitem(family_table.FAMILIES, name, entry)
    (tmp_path / "colours.yaml").write_text(f"family: flat\nsource: team/colours\nrevision: {'a' * 40}\n")

    result = paint(tmp_path, "colours")

    assert np.array_equal(result.pixels, np.full((64, 64, 3), 7))


def test_a_diffusion_transformer_is_added_by_two_small_classes(tmp_path, monkeypatch: pytest.MonkeyPatch):
    build_random_sd3(tmp_path / "sd3")
    code = [body for language, body in fences(DOCUMENT.read_text(encoding="utf-8")) if language == "python"][2]
    module = ModuleType("models.families.own_sd3")
    names = {name: value for name, value in vars(sd3).items() if not name.startswith("__")}
    module.__dict__.update(names, Text=Text)
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = replace(family_table.FAMILIES["sd3"], target="models.families.own_sd3:SD3")
    monkeypatch.setitem(family_table.FAMILIES, "own", entry)
    for family in ("sd3", "own"):
        (tmp_path / f"{family}-card.yaml").write_text(f"family: {family}\nsource: sd3\n", encoding="utf-8")

    theirs, ours = (paint(tmp_path, f"{family}-card", cfg_scale=4.0) for family in ("sd3", "own"))

    assert np.abs(theirs.pixels.astype(int) - ours.pixels.astype(int)).max() <= 1
