import json
import os

from configs.settings import load_settings
from models.registry import open_registry


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
    assert any(line.startswith("no     sdxl: not here; its first picture fetches stabilityai/") for line in lines)


def test_verify_fails_if_the_default_model_does_not_work(imagegenx, tmp_path, monkeypatch):
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/lost.yaml").write_text("family: sd\nsource: ./nowhere\n")
    monkeypatch.setenv("IMAGEGENX_MODEL_FOLDERS", json.dumps([str(tmp_path / "cards")]))
    monkeypatch.setenv("IMAGEGENX_DEFAULT_MODEL", "lost")

    status, output, _ = imagegenx("models", "verify")

    assert status == 1
    assert "no     lost: text2img: model 'lost': no weights (.safetensors) in " in output
