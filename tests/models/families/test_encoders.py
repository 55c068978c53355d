"""Encoders of checkpoints: which code computes their attention is decided here, not by a file of the checkpoint."""

import json

import pytest
import torch

from configs.settings import EngineSettings
from models.errors import ModelLoadError
from models.families.encoders import load_encoders
from models.families.loading import load_family
from models.families.single_file import single_file_configuration
from models.placement import choose_placement
from models.registry import ModelRegistry
from tests.support.model_factory import build_random_flux, build_random_sd

FOREIGN = "somebody/some-kernel"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    build_random_sd(folder / "sd")
    build_random_flux(folder / "flux")
    return folder


def ask_for_attention(config, value=FOREIGN):
    told = json.loads(config.read_text())
    config.write_text(json.dumps({**told, "attn_implementation": value, "_attn_implementation": value}))


@pytest.mark.parametrize(("checkpoint", "family"), [("sd", "sd"), ("flux", "diffusers")])
def test_a_checkpoint_does_not_choose_the_code_of_its_attention(checkpoints, tmp_path, checkpoint, family):
    for config in (checkpoints / checkpoint).glob("text_encoder*/config.json"):
        ask_for_attention(config)
    (tmp_path / "own.yaml").write_text(f"family: {family}\nsource: {checkpoints / checkpoint}\n")
    registry = ModelRegistry.load([tmp_path], "own")

    encoders = load_encoders(checkpoints / checkpoint, torch.float32)

    assert encoders
    for encoder in encoders.values():
        used = {module.config._attn_implementation for module in encoder.modules() if hasattr(module, "config")}
        assert used <= {"sdpa", "eager"}
    card = registry.card("own")
    family = load_family(card, choose_placement(card, EngineSettings(device="cpu")))
    family.release()


def test_a_configuration_of_a_single_file_that_asks_for_other_attention_is_refused(checkpoints, tmp_path):
    build_random_sd(tmp_path / "sd")
    ask_for_attention(tmp_path / "sd/text_encoder/config.json")
    (tmp_path / "one.safetensors").write_bytes(b"")
    (tmp_path / "own.yaml").write_text("family: sd\nsource: one.safetensors\nconfig: sd\n")
    card = ModelRegistry.load([tmp_path], "own").card("own")

    rule = rf"^text_encoder/config.json asks for the attention '{FOREIGN}'"
    with pytest.raises(ModelLoadError, match=rule), single_file_configuration(card):
        pass


def test_a_part_cannot_lie_outside_of_its_checkpoint(checkpoints, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    index = {"../sd/text_encoder": ["transformers", "CLIPTextModel"]}
    (tmp_path / "checkpoint/model_index.json").write_text(json.dumps(index))

    with pytest.raises(ModelLoadError, match=r"^checkpoint: the part '../sd/text_encoder' of its model_index.json"):
        load_encoders(tmp_path / "checkpoint", torch.float32)
