import json
import os
from pathlib import Path

import pytest

from configs.settings import load_settings
from models.registry import open_registry
from tests.support.hub_server import COMMIT, REPOSITORY, HubServer


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_the_list_as_json_has_what_clients_know_models_by(imagegenx):
    status, output, _ = imagegenx("models", "list", "--json")

    assert status == 0
    models = {model["name"]: model for model in json.loads(output)}
    assert list(models) == sorted(models)
    assert set(models["random"]) == {"name", "family", "modes", "source", "release", "accelerator"}
    registry = open_registry(load_settings())
    assert models["random"] == {
        "name": "random",
        "family": "sd",
        "modes": ["text2img", "img2img", "inpaint"],
        "source": str(registry.card("random").path),
        "release": registry.release("random"),
        "accelerator": "auto",
    }


def test_the_list_names_every_model_on_a_line_of_its_own(imagegenx):
    status, output, _ = imagegenx("models", "list")

    assert status == 0
    names = [line.split()[0] for line in output.splitlines()]
    assert names[0] == "name"
    assert "random" in names
    assert "sdxl" in names


def test_a_model_whose_files_are_missing_has_no_release(imagegenx, home, tmp_path, monkeypatch):
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/lost.yaml").write_text("family: sd\nsource: ./nowhere\n")
    folders = json.loads(os.environ["IMAGEGENX_MODEL_FOLDERS"])
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([*folders, str(tmp_path / "cards")]))

    _, output, _ = imagegenx("models", "list", "--json")

    assert {model["name"]: model["release"] for model in json.loads(output)}["lost"] is None


def test_verify_paints_in_every_mode_and_one_missing_model_spoils_no_other(imagegenx):
    status, output, _ = imagegenx("models", "verify")

    assert status == 0
    lines = output.splitlines()
    painted = [line for line in lines if line.startswith("ok     random: ")]
    assert [line.split()[2] for line in painted] == ["text2img", "img2img", "inpaint"]
    assert all("64×64 on eager/cpu/float32, 2 steps in " in line for line in painted)
    assert any(
        line.startswith("no     sdxl: not here; its first picture, or `imagegenx models fetch sdxl`, ")
        for line in lines
    )


def test_fetch_brings_a_model_from_the_hub_and_says_where_it_is(imagegenx, home, tmp_path, monkeypatch, random_model):
    (tmp_path / "cards").mkdir()
    card = f"family: sd\nsource: {REPOSITORY}\nrevision: {COMMIT}\ndefault_resolution: 64×64\n"
    (tmp_path / "cards/far.yaml").write_text(card)
    folders = json.loads(random_model["IMAGEGENX_MODEL_FOLDERS"])
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([*folders, str(tmp_path / "cards")]))
    hub = HubServer(Path(folders[0]) / "random")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)

    status, output, error = imagegenx("models", "fetch", "far")
    hub.stop()

    assert status == 0, error
    folder = home / "models/owner--model" / COMMIT
    assert output == f"{folder}\n"
    painted = ("generate", "a mug", "-o", tmp_path / "mug.png", "--model", "far", "--steps", 1, "--seed", 1)
    assert imagegenx(*painted)[0] == 0
    assert imagegenx("models", "fetch", "random")[:2] == (0, f"{folders[0]}/random\n")


def test_fetch_of_a_model_whose_folder_is_missing_fails_and_names_it(imagegenx, tmp_path, monkeypatch, random_model):
    (tmp_path / "near.yaml").write_text("family: sd\nsource: weights/near.safetensors\n")
    folders = [*json.loads(random_model["IMAGEGENX_MODEL_FOLDERS"]), str(tmp_path)]
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps(folders))

    status, output, error = imagegenx("models", "fetch", "near")

    assert (status, output) == (1, "")
    assert f"model 'near' is to be at {tmp_path}/weights/near.safetensors" in error


def test_a_model_is_fetched_at_its_first_use_and_without_a_network_that_is_a_clear_error(imagegenx, home, tmp_path):
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", "--model", "sdxl", "--steps", 1)

    assert status == 1
    assert (
        "stabilityai/stable-diffusion-xl-base-1.0 at 462165984030 is not here, and the hub cannot be reached" in error
    )


def test_verify_fails_if_the_default_model_does_not_work(imagegenx, tmp_path, monkeypatch):
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/lost.yaml").write_text("family: sd\nsource: ./nowhere\n")
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([str(tmp_path / "cards")]))
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "lost")

    status, output, _ = imagegenx("models", "verify")

    assert status == 1
    assert "no     lost: text2img: model 'lost': no weights (.safetensors) in " in output


@pytest.fixture
def bad_cards(tmp_path, monkeypatch, random_model):
    """A second folder of cards: a bad one, a hidden one, an editor's lock."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "broken.yml").write_text("family: sdx\nsource: weights\n")
    (folder / "._broken.yml").write_bytes(b"\0\5\x16\7")
    (folder / ".#random.yaml").symlink_to("me@host.1")
    folders = [*json.loads(random_model["IMAGEGENX_MODEL_FOLDERS"]), str(folder)]
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps(folders))
    return folder


RULE = "family: 'sdx' is not one of sd, sdxl, flux, sd3, qwen_image, z_image, diffusers. Nearest: sdxl."


def test_a_bad_card_is_listed_with_its_reason_and_stops_nothing_else(imagegenx, tmp_path, bad_cards):
    status, output, error = imagegenx("models", "list")
    assert status == 0
    (line,) = [line.split() for line in output.splitlines() if line.startswith("broken")]
    assert line == ["broken", "bad", "card", str(bad_cards / "broken.yml"), "not", "here"]
    assert f"bad: broken.yml: {RULE}" in error.splitlines()

    listed = json.loads(imagegenx("models", "list", "--json")[1])
    assert [(model["name"], model["error"]) for model in listed if "error" in model] == [("broken", RULE)]

    assert imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", "--model", "random", "--steps", 1)[0] == 0
    status, _, error = imagegenx("generate", "a mug", "-o", tmp_path / "mug.png", "--model", "broken")
    assert status == 1
    assert f"model_type: model 'broken' cannot be used: its card is wrong. broken.yml: {RULE}" in error


def test_verify_fails_over_a_bad_card_and_says_what_is_wrong(imagegenx, bad_cards):
    status, output, _ = imagegenx("models", "verify")

    assert status == 1
    assert f"no     broken: broken.yml: {RULE}" in output.splitlines()
    assert any(line.startswith("ok     random: text2img") for line in output.splitlines())
