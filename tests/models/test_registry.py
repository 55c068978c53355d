import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from configs.settings import PACKAGE_ROOT, Settings
from foundation.errors import ConfigError
from models.admission import parse_request
from models.errors import InvalidRequestError, ModelLoadError, ModelNotFoundError
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


def test_bad_cards_cost_their_models_alone_and_are_listed_with_every_problem(cards, caplog):
    write_card(cards, "a", "family: sdx\nsource: weights\nmods: [text2img]\nmodes: [paint]\n")
    write_card(cards, "b", "family: sd\n  source: weights\n")
    write_card(cards, "c", "- 1\n")
    write_card(cards, "d", "name: e\nfamily: sd\nsource: weights\n")
    write_card(cards, "f", "family: sd\nsource: owner/model\ncontrolnet: owner/control\nmodes: [controlnet]\n")
    write_card(cards, "g", "family: sd\nsource: weights\nmodes: [controlnet]\n")
    write_card(cards, "h", "family: diffusers\nsource: weights\nmodes: [controlnet]\n")
    write_card(cards, "i", "family: diffusers\nsource: weights\nloras: {a: b}\n")
    write_card(cards, "j", "family: sd\nsource: weights\nmin_side_px: 512\nmax_side_px: 256\n")
    write_card(cards, "k", "family: sd\nsource: weights\nmax_side_px: 256\n")
    write_card(cards, "l", "family: sd\nsource: owner/model\nrevision: main\n")
    write_card(cards, "m", "family: diffusers\nsource: model.safetensors\n")
    write_card(cards, "n", "family: sd\nsource: weights\nconfig: weights\n")

    registry = ModelRegistry.load([cards], "mine")

    assert registry.names == ("mine",)
    assert len(registry.release("mine")) == 64
    found = [str(card) for card in registry.bad_cards]
    assert [line for line in found if not line.startswith("b.yaml")] == [
        "a.yaml: family: 'sdx' is not one of sd, sdxl, flux, sd3, qwen_image, z_image, diffusers. "
        "Nearest: sdxl.; modes.0: 'paint' is not one of "
        "text2img, img2img, inpaint, controlnet. Nearest: inpaint.; mods: unknown field. Nearest: modes.",
        "c.yaml: must hold the fields of a model card",
        "d.yaml: name: 'e' must be 'd', like the file",
        "f.yaml: revision: there is no folder owner/model; if it is a hub id, name the commit to use; "
        "controlnet_revision: there is no folder owner/control; if it is a hub id, name the commit to use",
        "g.yaml: the mode controlnet needs the field controlnet",
        "h.yaml: family diffusers cannot do controlnet",
        "i.yaml: family diffusers takes no LoRAs",
        "j.yaml: min_side_px leaves no size: it must fit max_side_px and max_pixels",
        "k.yaml: default resolution: width 512, height 512: both must be from 64 to 256 px. Nearest: 256×256.",
        "l.yaml: revision: 'main' is not a commit (40 hex digits); branches and tags can move, and pictures must be "
        "repeatable",
        "m.yaml: family diffusers takes no single files: name a folder in the diffusers layout",
        "n.yaml: config goes with a single .safetensors file; a folder or hub id brings its own",
    ]
    assert any(line.startswith("b.yaml: not readable as YAML: ") for line in found)
    assert [message.split()[4] for message in caplog.messages] == ["left"] * 13
    with pytest.raises(ModelNotFoundError) as caught:
        registry.card("d")
    assert str(caught.value) == (
        "model 'd' cannot be used: its card is wrong. d.yaml: name: 'e' must be 'd', like the file"
    )


@pytest.mark.parametrize(
    "text",
    ["2024-99-99", "? [a]\n: b\n", "[" * 5_000, "a: &a [*a]\n", "é".encode("latin-1")],
    ids=["date", "key", "deep", "circle", "latin-1"],
)
def test_whatever_a_card_holds_costs_its_model_alone(cards, text):
    (cards / "odd.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    long = cards / "long.yaml"
    long.write_text(f"family: sd\nsource: {'x' * 5_000}.safetensors\n" + f"{'y' * 900}: 1\n")

    registry = ModelRegistry.load([cards], "mine")

    assert registry.names == ("mine",)
    assert [card.name for card in registry.bad_cards] == ["long", "odd"]
    assert max(len(str(card)) for card in registry.bad_cards) < 500


def test_hidden_files_are_no_cards_and_every_ending_of_yaml_counts(cards):
    good = (cards / "mine.yaml").read_text()
    for name in ("._mine.yaml", ".draft.yml", "~$mine.yaml"):
        (cards / name).write_bytes(b"\0\5\x16\7")
    (cards / ".#mine.yaml").symlink_to("me@host.1")
    (cards / "folder.yaml").mkdir()
    (cards / "short.yml").write_text(good)
    (cards / "LOUD.YAML").write_text(good)
    (cards / "lost.yaml").symlink_to("nowhere.yaml")

    registry = ModelRegistry.load([cards], "mine")

    assert registry.names == ("LOUD", "mine", "short")
    assert [card.name for card in registry.bad_cards] == ["lost"]
    assert "No such file" in registry.bad_cards[0].reason


def test_two_cards_of_one_name_are_told(cards, tmp_path):
    shutil.copy(cards / "mine.yaml", cards / "mine.yml")
    write_card(tmp_path / "more", "mine", f"family: sd\nsource: {cards}/weights\n")

    registry = ModelRegistry.load([cards, tmp_path / "more"], "mine")

    assert [str(card) for card in registry.bad_cards] == [
        "mine.yml: mine.yaml describes model 'mine' already; remove one of them"
    ]
    assert registry.replaced_cards == ((cards / "mine.yaml", tmp_path / "more/mine.yaml"),)


def test_a_default_model_with_a_bad_card_leaves_the_others_at_work(cards):
    write_card(cards, "mien", "family: sdx\nsource: weights\n")

    registry = ModelRegistry.load([cards], "mien")

    assert registry.names == ("mine",)
    with pytest.raises(InvalidRequestError, match=r"^model_type: model 'mien' cannot be used: its card is wrong\. "):
        parse_request({"text": "a mug"}, registry)
    assert parse_request({"text": "a mug", "model_type": "mine"}, registry).model_type == "mine"


def test_a_folder_that_is_not_there_is_an_error_of_the_configuration(cards, tmp_path):
    with pytest.raises(ConfigError) as caught:
        ModelRegistry.load([cards, tmp_path / "none"], "mine")

    assert str(caught.value) == f"model_folders: no folder {tmp_path / 'none'}"


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
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", 3600.0)
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")
    (cards / "weights/merges.txt").write_bytes(b"changed")

    assert registry.release("mine") == before
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", 0.0)
    assert registry.release("mine") != before


def test_the_controlnet_and_the_options_are_part_of_the_release(cards):
    plain = ModelRegistry.load([cards], "mine").release("mine")
    write_model(cards / "control", b"control")
    write_card(cards, "mine", "family: sd\nsource: weights\ncontrolnet: control\n")
    with_control = ModelRegistry.load([cards], "mine").release("mine")
    write_card(cards, "mine", "family: sd\nsource: weights\ncontrolnets: {lines: control}\n")
    with_named = ModelRegistry.load([cards], "mine").release("mine")
    write_card(cards, "mine", "family: sd\nsource: weights\noptions: {a: 1}\n")
    with_options = ModelRegistry.load([cards], "mine").release("mine")

    assert len({plain, with_control, with_named, with_options}) == 4


def test_a_named_controlnet_that_is_not_here_is_missed_by_name(cards):
    write_card(cards, "mine", "family: sd\nsource: weights\ncontrolnets: {lines: {source: owner/lines}}\n")

    with pytest.raises(ModelLoadError, match="^model 'mine': no weights .* or name another `controlnets: lines` in "):
        ModelRegistry.load([cards], "mine").release("mine")


def test_a_hub_model_is_known_by_id_and_commit_without_a_network(cards):
    write_card(cards, "far", f"family: sd\nsource: owner/model\nrevision: {'a' * 40}\n")
    before = ModelRegistry.load([cards], "mine")
    write_card(cards, "far", f"family: sd\nsource: owner/model\nrevision: {'b' * 40}\n")

    assert before.card("far").path is None
    assert ModelRegistry.load([cards], "mine").release("far") != before.release("far")


def test_weights_replaced_by_others_of_equal_size_and_time_are_another_release(cards, tmp_path):
    before = ModelRegistry.load([cards], "mine", cache_folder=tmp_path / "cache").release("mine")
    file = cards / "weights/unet/diffusion.safetensors"
    stat = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert ModelRegistry.load([cards], "mine", cache_folder=tmp_path / "cache").release("mine") != before


UNLOADED = (
    *("LICENSE", "LICENSE.txt", "README.md", "notes.txt", "unet/notes.txt", ".DS_Store", "._x.safetensors"),
    *("unet/._diffusion.safetensors", ".ipynb_checkpoints/x.json", ".git/config.json", ".cache/huggingface/x.json"),
)


@pytest.mark.parametrize("name", UNLOADED)
def test_what_decides_no_pixel_is_no_release(cards, name):
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")

    (cards / "weights" / name).parent.mkdir(exist_ok=True, parents=True)
    (cards / "weights" / name).write_text("hello")

    assert registry.release("mine") == before


@pytest.mark.parametrize("name", ["safety_checker/model.safetensors", "spare/config.json", "training.json"])
def test_what_a_pipeline_s_index_does_not_name_or_its_family_does_not_load_is_no_release(cards, name):
    index = {"_class_name": "X", "unet": ["diffusers", "U"], "safety_checker": ["stable_diffusion", "C"]}
    (cards / "weights/model_index.json").write_text(json.dumps(index))
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")

    (cards / "weights" / name).parent.mkdir(exist_ok=True)
    (cards / "weights" / name).write_text("hello")
    assert registry.release("mine") == before

    (cards / "weights/unet/config.json").write_text('{"a": 1}')
    assert registry.release("mine") != before


@pytest.mark.parametrize("name", ["tokenizer/spiece.model", "tokenizer/vocab.txt", "tokenizer/chat_template.jinja"])
def test_vocabularies_of_every_kind_decide_the_release(cards, name):
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")

    (cards / "weights/tokenizer").mkdir()
    (cards / "weights" / name).write_text("hello")

    assert registry.release("mine") != before


def test_a_part_behind_a_link_counts_and_a_circle_of_links_ends(cards, tmp_path):
    registry = ModelRegistry.load([cards], "mine")
    before = registry.release("mine")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("{}")

    (cards / "weights/vae").symlink_to(tmp_path / "vae")
    linked = registry.release("mine")
    (cards / "weights/unet/circle").symlink_to(cards / "weights")

    assert linked != before
    assert registry.release("mine") == linked


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


@pytest.mark.parametrize("kept", ["NFC", "NFD"])
def test_a_model_is_found_by_its_name_in_either_unicode_form(cards, kept):
    composed, apart = "Möbel", unicodedata.normalize("NFD", "Möbel")
    write_card(cards, unicodedata.normalize(kept, composed), f"name: {apart}\nfamily: sd\nsource: weights\n")

    registry = ModelRegistry.load([cards], apart)

    assert (set(registry.names), registry.bad_cards) == ({"mine", "Möbel"}, ())
    assert registry.card(apart) is registry.card(composed)
    for typed in (apart, composed):
        assert parse_request({"text": "a chair", "model_type": typed}, registry).model_type == composed


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
