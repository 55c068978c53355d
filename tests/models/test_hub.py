import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time

import pytest

from configs.settings import PACKAGE_ROOT
from models.errors import ModelLoadError
from models.hub import fetch_missing, wanted_files
from models.registry import ModelRegistry
from tests.support.hub_server import COMMIT, REPOSITORY, HubServer

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": [None, None],
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
NEEDED = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    WEIGHTS,
]
UNNEEDED = [
    "README.md",
    "everything.safetensors",
    "safety_checker/model.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in [*NEEDED, *UNNEEDED]:
        file = tmp_path / "repository" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(json.dumps(INDEX).encode() if name == "model_index.json" else name.encode() * 9)
    (tmp_path / "repository" / WEIGHTS).write_bytes(bytes(range(256)) * 20_000)
    server = HubServer(tmp_path / "repository")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.stop()


@pytest.fixture
def card(tmp_path):
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/far.yaml").write_text(f"family: sd\nsource: {REPOSITORY}\nrevision: {COMMIT}\n")
    return ModelRegistry.load([tmp_path / "cards"], "far", hub_folder=tmp_path / "models").card("far")


def files_of(folder) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_what_a_model_needs_is_fetched_once_and_nothing_else(hub, card, tmp_path):
    assert card.path is None
    told = {}

    fetch_missing(card, lambda name, here, total: told.update({name: (here, total)}))

    assert card.path == tmp_path / "models/owner--model" / COMMIT
    assert files_of(card.path) == NEEDED
    for name in NEEDED:
        assert (card.path / name).read_bytes() == (hub.folder / name).read_bytes()
    assert sorted(told) == NEEDED
    assert told[WEIGHTS] == (5_120_000, 5_120_000)
    asked = len(hub.requests)
    fetch_missing(card)
    assert len(hub.requests) == asked


def test_the_release_of_a_hub_model_does_not_change_when_it_is_fetched(hub, tmp_path, card, monkeypatch):
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", -1.0)
    registry = ModelRegistry.load([tmp_path / "cards"], "far", hub_folder=tmp_path / "models")
    before = registry.release("far")

    fetch_missing(registry.card("far"))

    assert registry.release("far") == before


def test_a_line_that_breaks_is_taken_up_where_it_broke(hub, card):
    hub.cut_after[WEIGHTS] = 3_000_000

    fetch_missing(card)

    assert (card.path / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    first, second = (range for name, range in hub.downloads() if name == WEIGHTS)
    assert first is None
    assert 2_000_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 3_000_000


def test_a_killed_fetch_is_continued_by_the_next_process(hub, card, tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from models.hub import fetch_missing\n"
        "from models.registry import ModelRegistry\n"
        "card = ModelRegistry.load([Path(sys.argv[1])], 'far', hub_folder=Path(sys.argv[2])).card('far')\n"
        "def watch(name, here, total):\n"
        "    if name.startswith('unet/diff') and here >= 2_000_000: os.kill(os.getpid(), 9)\n"
        "fetch_missing(card, watch)\n"
    )
    folders = [str(tmp_path / "cards"), str(tmp_path / "models")]
    killed = subprocess.run([sys.executable, "-c", code, *folders], cwd=PACKAGE_ROOT, check=False)
    assert killed.returncode == -9
    assert card.path is None
    part = tmp_path / "models/owner--model" / f"{COMMIT}.part" / f"{WEIGHTS}.part"
    here = part.stat().st_size
    assert 1_000_000 < here < 5_120_000
    hub.requests.clear()

    fetch_missing(card)

    assert (card.path / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert hub.downloads() == [(WEIGHTS, f"bytes={here}-")]


@pytest.mark.parametrize("name", [WEIGHTS, "unet/config.json"])
def test_a_file_that_is_not_what_the_hub_says_is_refused_and_fetched_anew(hub, card, name):
    hub.damaged.add(name)

    with pytest.raises(ModelLoadError) as caught:
        fetch_missing(card)

    assert str(caught.value) == (f"{name} of owner/model came in damaged (its digest is another one). Fetch it again.")
    assert card.path is None
    hub.damaged.clear()
    fetch_missing(card)
    digest = hashlib.sha256((card.path / name).read_bytes()).hexdigest()
    assert digest == hashlib.sha256((hub.folder / name).read_bytes()).hexdigest()


def test_without_a_network_the_error_is_clear_and_quick(card, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ModelLoadError) as caught:
            fetch_missing(card)

    assert time.monotonic() - began < 60
    assert str(caught.value).startswith("owner/model at c0ffee000000 is not here, and the hub cannot be reached: ")
    assert str(caught.value).endswith(
        ". Fetch it where there is a network (imagegenx models fetch), or name a folder with its files as `source`."
    )


def test_an_unknown_repository_and_a_missing_token_are_clear_errors(hub, card):
    hub.token = "secret"
    with pytest.raises(ModelLoadError) as unknown:
        fetch_missing(card)
    hub.token = ""
    shutil.rmtree(hub.folder)
    other = card.model_copy(update={"source": "owner/other"})
    with pytest.raises(ModelLoadError) as missing:
        fetch_missing(other)

    assert str(unknown.value) == (
        "owner/model at c0ffee000000 cannot be fetched: HTTP 401, it needs a token in HF_TOKEN, or does not exist."
    )
    assert str(missing.value) == (
        "owner/other at c0ffee000000 cannot be fetched: HTTP 404, there is no such repository, commit or file."
    )


def test_the_token_is_shown_to_the_hub(hub, card, monkeypatch):
    hub.token = "secret"
    monkeypatch.setenv("HF_TOKEN", "secret")

    fetch_missing(card)

    assert card.path


def test_a_repository_cannot_write_outside_of_its_folder(hub, card, tmp_path):
    outside = ("../../../../stolen.json", "/stolen.json", "unet/../../stolen.json", "unet\\..\\stolen.json", "./a.json")
    index = {**INDEX, "..": ["diffusers", "UNet2DConditionModel"], "../up": ["transformers", "CLIPTokenizer"]}
    (hub.folder / "model_index.json").write_text(json.dumps(index))
    entries = hub.entries()
    hub.entries = lambda: [*entries, *({"type": "file", "path": path, "oid": "0", "size": 3} for path in outside)]
    before = files_of(tmp_path)

    fetch_missing(card)

    assert files_of(card.path) == NEEDED
    assert [file for file in files_of(tmp_path) if file not in before and not file.startswith("models/")] == []
    assert {path for path, _ in hub.downloads()} == set(NEEDED)


def test_a_controlnet_is_one_network_in_its_repository():
    files = ["README.md", "config.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"]

    assert wanted_files(files, None, (), "owner/control") == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_templates_of_prompts_and_sentencepiece_vocabularies_are_wanted():
    files = ["text_encoder/config.json", "text_encoder/model.safetensors"]
    read = ["tokenizer/chat_template.jinja", "tokenizer/spiece.model"]
    index = {"text_encoder": ["transformers", "T5EncoderModel"], "tokenizer": ["transformers", "T5TokenizerFast"]}

    wanted = wanted_files(["model_index.json", *files, *read, "tokenizer/notes.md"], index, (), "owner/large")

    assert wanted == ["model_index.json", *files, *read]


def test_weights_in_several_files_are_all_wanted():
    files = [f"unet/diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"unet": ["diffusers", "UNet2DConditionModel"]}

    assert wanted_files(["model_index.json", *files], index, (), "owner/large") == ["model_index.json", *files]


def test_a_part_that_comes_pickled_only_is_refused():
    index = {"unet": ["diffusers", "UNet2DConditionModel"]}
    files = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"]

    with pytest.raises(ModelLoadError, match=r"^owner/old has no weights \(\.safetensors\) for unet; ask for another$"):
        wanted_files(files, index, (), "owner/old")


def test_a_variant_is_fetched_only_of_a_part_that_has_nothing_else():
    index = {"unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"]}
    both = ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"]
    only = [f"vae/diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]

    assert wanted_files(["model_index.json", *both, *only], index, (), "x") == ["model_index.json", both[0], *only]
