import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.settings import PACKAGE_ROOT, Settings
from models.errors import ModelLoadError, ModelNotFoundError
from models.registry import ModelRegistry, open_registry
from models.request import Mode, Sampler
from models.resolution import Resolution


def write_card(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def write_model(folder: Path, weights: bytes = b"weights") -> None:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet/diffusion.safetensors").write_bytes(weights)
    (folder / "unet/config.json").write_text("{}")
    (folder / "merges.txt").write_text("a b")


@pytest.fixture(autouse=True)
def looks_every_time(monkeypatch):
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", -1.0)


@pytest.fixture
def cards(tmp_path) -> Path:
    write_model(tmp_path / "cards/weights")
    write_card(tmp_path / "cards", "mine", "family: sd\nsource: weights\nloras: {soft: soft.safetensors}\n")
    return tmp_path / "cards"


def test_a_card_is_a_yaml_file_with_defaults(cards):
    card = ModelRegistry.load([cards], "mine").card("mine")

    assert (card.name, card.family, card.path) == ("mine", "sd", cards / "weights")
    assert card.modes == (Mode.TEXT2IMG,)
    assert card.samplers == tuple(Sampler)
    assert card.default_resolution == Resolution(512, 512)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("family: sdxl", (1024, 1024)),
        ("family: sdxl\nmax_side_px: 768", (512, 512)),
        ("family: sd\ndefault_resolution: 768×512", (768, 512)),
    ],
)
def test_a_card_without_a_default_resolution_has_its_familys_where_it_fits(cards, fields, size):
    write_card(cards, "mine", f"{fields}\nsource: weights\n")

    assert ModelRegistry.load([cards], "mine").card("mine").default_resolution == Resolution(*size)


def test_the_cards_of_a_later_folder_replace_those_of_an_earlier_one(cards, tmp_path):
    write_card(tmp_path / "more", "mine", f"family: sd\nsource: {cards}/weights\ndescription: better\n")
    write_card(tmp_path / "more", "other", f"family: sd\nsource: {cards}/weights\n")

    registry = ModelRegistry.load([cards, tmp_path / "more"], "mine")

    assert registry.names == ("mine", "other")
    assert registry.card("mine").description == "better"


def test_a_relative_source_is_below_the_card_or_the_packages():
    card = open_registry(Settings()).card("tiny")

    assert card.path == PACKAGE_ROOT / "models/builtin/tiny"


def test_an_unknown_model_names_the_nearest(cards):
    registry = ModelRegistry.load([cards], "mine")

    with pytest.raises(ModelNotFoundError) as caught:
        registry.card("mien")

    assert str(caught.value) == "no model 'mien'. Nearest: mine. Known models: mine."


def test_every_problem_of_every_card_is_listed_at_once(cards, tmp_path):
    write_card(cards, "a", "family: sdx\nsource: weights\nmods: [text2img]\nmodes: [paint]\n")
    write_card(cards, "b", "family: sd\n  source: weights\n")
    write_card(cards, "c", "- 1\n")
    write_card(cards, "d", "name: e\nfamily: sd\nsource: weights\n")
    write_card(cards, "f", "family: sd\nsource: owner/model\ncontrolnet: owner/control\nmodes: [controlnet]\n")
    write_card(cards, "g", "family: sd\nsource: weights\nmodes: [controlnet]\n")
    write_card(cards, "h", "family: diffusers\nsource: weights\nmodes: [img2img]\n")
    write_card(cards, "i", "family: diffusers\nsource: weights\nloras: {a: b}\n")
    write_card(cards, "j", "family: sd\nsource: weights\nmin_side_px: 512\nmax_side_px: 256\n")
    write_card(cards, "k", "family: sd\nsource: weights\nmax_side_px: 256\n")
    write_card(cards, "l", "family: sd\nsource: owner/model\nrevision: main\n")
    write_card(cards, "m", "family: diffusers\nsource: model.safetensors\n")
    write_card(cards, "n", "family: sd\nsource: weights\nconfig: weights\n")

    with pytest.raises(ConfigError) as caught:
        ModelRegistry.load([cards, tmp_path / "none"], "mine")

    found = str(caught.value).splitlines()
    assert [line for line in found if not line.startswith("b.yaml")] == [
        "a.yaml: family: 'sdx' is not one of sd, sdxl, diffusers. Nearest: sdxl.",
        "a.yaml: modes.0: 'paint' is not one of text2img, img2img, inpaint, controlnet. Nearest: inpaint.",
        "a.yaml: mods: unknown field. Nearest: modes.",
        "c.yaml: must hold the fields of a model card",
        "d.yaml: name: 'e' must be 'd', like the file",
        "f.yaml: revision: there is no folder owner/model; if it is a hub id, name the commit to use",
        "f.yaml: controlnet_revision: there is no folder owner/control; if it is a hub id, name the commit to use",
        "g.yaml: the mode controlnet needs the field controlnet",
        "h.yaml: family diffusers cannot do img2img",
        "i.yaml: family diffusers takes no LoRAs",
        "j.yaml: min_side_px leaves no size: it must fit max_side_px and max_pixels",
        "k.yaml: default resolution: width 512, height 512: both must be from 64 to 256 px. Nearest: 256×256.",
        "l.yaml: revision: 'main' is not a commit (40 hex digits); branches and tags can move, and pictures must be "
        "repeatable",
        "m.yaml: family diffusers takes no single files: name a folder in the diffusers layout",
        "n.yaml: config goes with a single .safetensors file; a folder or hub id brings its own",
        f"model_folders: no folder {tmp_path / 'none'}",
    ]
    assert any(line.startswith("b.yaml: not readable as YAML: ") for line in found)


def test_a_default_model_that_no_card_describes_is_an_error(cards):
    with pytest.raises(ConfigError) as caught:
        ModelRegistry.load([cards], "tyni")

    assert str(caught.value) == "default_model: no model 'tyni'. Known models: mine."


def test_the_release_is_the_same_wherever_the_files_lie(cards, tmp_path):
    before = ModelRegistry.load([cards], "mine").release("mine")
    shutil.copytree(cards, tmp_path / "elsewhere")

    assert ModelRegistry.load([tmp_path / "elsewhere"], "mine").release("mine") == before
    assert before == "89261f964608576af30a1e521ce6305539cf2ed8fc9c906630de02318e83fac7"


@pytest.mark.parametrize("name", ["unet/diffusion.safetensors", "unet/config.json", "merges.txt"])
def test_weights_configuration_and_tokenizer_decide_the_release(cards, name):
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")

    (cards / "weights" / name).write_bytes(b"changed")

    assert registry.release("mine") != before


def test_a_renamed_file_is_another_release_and_a_readme_is_none(cards):
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")

    (cards / "weights/README.md").write_text("hello")
    assert registry.release("mine") == before

    (cards / "weights/unet").rename(cards / "weights/unet2")
    assert registry.release("mine") != before


def test_files_are_looked_at_again_only_after_a_while(cards, monkeypatch):
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", 0.2)
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")
    (cards / "weights/merges.txt").write_bytes(b"changed")

    assert registry.release("mine") == before
    time.sleep(0.25)
    assert registry.release("mine") != before


def test_the_controlnet_and_the_options_are_part_of_the_release(cards):
    plain = ModelRegistry.load([cards], "mine").release("mine")
    write_model(cards / "control", b"control")
    write_card(cards, "mine", "family: sd\nsource: weights\ncontrolnet: control\n")
    with_control = ModelRegistry.load([cards], "mine").release("mine")
    write_card(cards, "mine", "family: sd\nsource: weights\noptions: {a: 1}\n")
    with_options = ModelRegistry.load([cards], "mine").release("mine")

    assert len({plain, with_control, with_options}) == 3


def test_a_hub_model_is_known_by_id_and_commit_without_a_network(cards):
    write_card(cards, "far", f"family: sd\nsource: owner/model\nrevision: {'a' * 40}\n")
    before = ModelRegistry.load([cards], "mine")
    write_card(cards, "far", f"family: sd\nsource: owner/model\nrevision: {'b' * 40}\n")

    assert before.card("far").path is None
    assert ModelRegistry.load([cards], "mine").release("far") != before.release("far")


def test_a_release_is_remembered_by_size_and_time_of_change(cards, tmp_path):
    before = ModelRegistry.load([cards], "mine", cache_folder=tmp_path / "cache").release("mine")
    file = cards / "weights/unet/diffusion.safetensors"
    stat = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert ModelRegistry.load([cards], "mine", cache_folder=tmp_path / "cache").release("mine") == before
    assert ModelRegistry.load([cards], "mine").release("mine") != before
    assert len(json.loads((tmp_path / "cache/digests.json").read_text())) == 3


def test_missing_files_are_a_clear_error(cards):
    shutil.rmtree(cards / "weights")
    registry = ModelRegistry.load([cards], "mine")

    with pytest.raises(ModelLoadError) as caught:
        registry.release("mine")

    assert str(caught.value) == (
        f"model 'mine': no weights (.safetensors) in {cards / 'weights'}. Put a model in the diffusers layout "
        f"there, or name another `source` in {cards / 'mine'}.yaml."
    )


def test_pickled_weights_are_no_weights(cards):
    file = cards / "weights/unet/diffusion.safetensors"
    file.rename(file.with_suffix(".bin"))

    with pytest.raises(ModelLoadError, match=r"no weights \(\.safetensors\)"):
        ModelRegistry.load([cards], "mine").release("mine")


def test_loras_are_known_by_name_and_content(cards):
    registry = ModelRegistry.load([cards], "mine")
    (cards / "soft.safetensors").write_bytes(b"lora")

    assert registry.lora_digest("mine", "soft") == hashlib.sha256(b"lora").hexdigest()
    with pytest.raises(ModelLoadError, match=r"^model 'mine' has no LoRA 'hard'\. It has: soft\.$"):
        registry.lora_digest("mine", "hard")


def test_a_missing_lora_file_is_a_clear_error(cards):
    registry = ModelRegistry.load([cards], "mine")

    with pytest.raises(ModelLoadError, match=r"^LoRA 'soft' of model 'mine': no file .*soft\.safetensors\.$"):
        registry.lora_digest("mine", "soft")


def test_registry_request_recipe_and_engine_load_without_a_gpu_stack():
    code = (
        "import sys, models.registry, models.request, models.recipe, models.image, models.engine, configs.settings\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
