"""One random model for all tests of the engine: the files are built once per test run."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from models.pipeline_pool import PipelinePool
from models.registry import ModelRegistry
from tests.support.model_factory import build_random_controlnet, build_random_lora, build_random_sd, build_random_sdxl
from tests.support.workbench import Workbench

CARDS = {
    "small": """
family: sd
source: {folder}/sd
controlnet: {folder}/controlnet
modes: [text2img, img2img, inpaint, controlnet]
max_side_px: 256
default_resolution: 64×64
loras:
  bold: {folder}/bold.safetensors
  faint: {folder}/faint.safetensors
  wording: {folder}/wording.safetensors
  foreign: {folder}/foreign.safetensors
""",
    "v_prediction": "family: sd\nsource: {folder}/v\nmodes: [text2img, img2img]\ndefault_resolution: 64×64\n",
    "small_xl": """
family: sdxl
source: {folder}/sdxl
modes: [text2img, img2img, inpaint]
default_resolution: 64×64
""",
    "any": "family: diffusers\nsource: {folder}/sd\ndefault_resolution: 64×64\n",
    "broken": "family: sd\nsource: {folder}/broken\ndefault_resolution: 64×64\n",
}


@dataclass(frozen=True)
class RandomModels:
    """The folder of the models' files and of their cards, and the registry over them."""

    folder: Path
    registry: ModelRegistry


@pytest.fixture(scope="session")
def random_models(tmp_path_factory) -> RandomModels:
    folder = tmp_path_factory.mktemp("random_models")
    build_random_sd(folder / "sd")
    build_random_sd(folder / "v", seed=3, zero_snr=True)
    build_random_sdxl(folder / "sdxl")
    build_random_controlnet(folder / "controlnet", folder / "sd")
    build_random_lora(folder / "bold.safetensors", folder / "sd")
    build_random_lora(folder / "faint.safetensors", folder / "sd", seed=5)
    build_random_lora(folder / "wording.safetensors", folder / "sd", seed=7, part="text_encoder")
    build_random_lora(folder / "foreign.safetensors", folder / "sdxl")
    (folder / "broken").mkdir()
    (folder / "broken/model.safetensors").write_bytes(b"no weights")
    (folder / "cards").mkdir()
    for name, text in CARDS.items():
        (folder / f"cards/{name}.yaml").write_text(text.format(folder=folder), encoding="utf-8")
    return RandomModels(folder, ModelRegistry.load([folder / "cards"], "small"))


@pytest.fixture(scope="session")
def warm_pool():
    """Models stay loaded from test to test."""
    return PipelinePool()


@pytest.fixture(scope="session")
def workbench(random_models) -> Workbench:
    """The random models by step and by pipeline, loaded once."""
    return Workbench(random_models.folder)
