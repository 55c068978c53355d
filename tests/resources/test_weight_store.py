"""Weights of models in a store: fetched once to a machine, checked, continued."""

import hashlib
import json
import subprocess
import sys

import pytest

from configs.settings import PACKAGE_ROOT, Settings
from models.card_folders import CardFolders
from models.errors import ModelLoadError
from models.hub import fetch_missing, is_missing
from models.registry import open_registry
from models.request import PostProcess
from ops.stages import recorded_change, upscaling
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from resources.open_store import open_store
from resources.weight_store import open_loading_registry

INDEX = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FILES = {
    "model_index.json": json.dumps(INDEX).encode(),
    "unet/config.json": b"{}",
    WEIGHTS: bytes(range(256)) * 20_000,
    "README.md": b"for people",
}
LORA = b"soft" * 9


def sha256(data):
    return hashlib.sha256(data).hexdigest()


SUMS = "".join(f"{sha256(data)}  ./{name}\n" for name, data in FILES.items()).encode()


def put_model(store, prefix=""):
    for name, data in {**FILES, "SHA256SUMS": SUMS}.items():
        store.put(f"{prefix}sd/{name}", data, content_type="application/octet-stream")
    store.put(f"{prefix}soft.safetensors", LORA, content_type="application/octet-stream")


def write_card(folder, source, pin=None, lora=""):
    folder.mkdir(exist_ok=True)
    loras = f"loras: {{soft: '{lora}'}}\n" if lora else ""
    (folder / "far.yaml").write_text(f"family: sd\nsource: {source}\nrevision: {pin or sha256(SUMS)}\n{loras}")


@pytest.fixture
def settings(tmp_path):
    write_card(tmp_path / "cards", "store:weights/sd", lora=f"store:weights/soft.safetensors#{sha256(LORA)}")
    settings = Settings(home=tmp_path / "home", model_folders=(tmp_path / "cards",))
    put_model(open_store(settings.store), "weights/")
    return settings


def fetched(card):
    return {file.relative_to(card.path).as_posix() for file in card.path.rglob("*") if file.is_file()}


def test_what_a_model_needs_is_fetched_once_with_its_loras(settings, monkeypatch):
    card = open_loading_registry(settings).card("far")
    assert is_missing(card)

    fetch_missing(card)

    assert fetched(card) == {"model_index.json", "unet/config.json", WEIGHTS}
    assert (card.path / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert card.lora_path("soft").read_bytes() == LORA
    monkeypatch.setattr(LocalObjectStore, "read", None)
    fetch_missing(open_loading_registry(settings).card("far"))


def test_a_machine_that_only_plans_knows_the_release_without_the_weights(settings, tmp_path):
    planning = open_registry(settings)
    release, lora = planning.release("far"), planning.lora_digest("far", "soft")
    with pytest.raises(ModelLoadError, match="store:weights/sd is not here, and nothing is fetched here"):
        fetch_missing(planning.card("far"))
    write_card(tmp_path / "cards", "s3://elsewhere/sd")

    assert lora == sha256(LORA)
    assert open_registry(settings).release("far") == release


def test_what_breaks_off_is_continued(settings, monkeypatch):
    read, starts = LocalObjectStore.read, []

    def breaking(store, key, start=0):
        if key.endswith(WEIGHTS):
            starts.append(start)
        for number, chunk in enumerate(read(store, key, start)):
            if key.endswith(WEIGHTS) and len(starts) == 1 and number == 2:
                raise StoreUnavailableError("cut off")
            yield chunk

    monkeypatch.setattr(LocalObjectStore, "read", breaking)
    card = open_loading_registry(settings).card("far")
    fetch_missing(card)

    assert starts == [0, 2 << 20]
    assert (card.path / WEIGHTS).read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (WEIGHTS, f"{WEIGHTS} of store:weights/sd came in damaged"),
        ("SHA256SUMS", "store:weights/sd: its SHA256SUMS is not the one of the revision"),
    ],
)
def test_what_is_not_what_was_pinned_is_refused_and_mended_by_the_next_fetch(settings, damaged, told):
    store, key = open_store(settings.store), f"weights/sd/{damaged}"
    right = store.get(key)
    store.put(key, right[:-1] + b"?", content_type="application/octet-stream")
    card = open_loading_registry(settings).card("far")
    with pytest.raises(ModelLoadError, match=told):
        fetch_missing(card)
    assert is_missing(card)
    store.put(key, right, content_type="application/octet-stream")
    fetch_missing(card)

    assert not is_missing(card)


def test_what_the_store_has_not_is_said(settings):
    open_store(settings.store).delete(f"weights/sd/{WEIGHTS}")

    with pytest.raises(ModelLoadError, match=f"store:weights/sd: the store has no 'weights/sd/{WEIGHTS}'. Put"):
        fetch_missing(open_loading_registry(settings).card("far"))


CODE = """
import os, sys
from configs.settings import load_settings
from models.hub import fetch_missing
from resources.local_store import LocalObjectStore
from resources.weight_store import open_loading_registry
read = LocalObjectStore.read
def noting(store, key, start=0):
    with open(sys.argv[1], "a") as log:
        log.write(f"{key}\\n")
    return read(store, key, start)
LocalObjectStore.read = noting
def watch(name, here, total):
    if len(sys.argv) > 2 and name.endswith("model.safetensors") and here >= 2_000_000:
        os.kill(os.getpid(), 9)
fetch_missing(open_loading_registry(load_settings()).card("far"), watch)
"""


def start(settings, *arguments):
    folders = json.dumps([str(folder) for folder in settings.model_folders])
    environment = {"IMAGEGENX_HOME": str(settings.home), "IMAGEGENX_MODEL_FOLDERS": folders, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen([sys.executable, "-c", CODE, *map(str, arguments)], cwd=PACKAGE_ROOT, env=environment)


def test_two_processes_at_once_fetch_once_and_go_on_where_a_killed_one_stopped(settings, tmp_path):
    with start(settings, tmp_path / "killed", "kill") as killed:
        assert killed.wait(120) == -9
    with start(settings, tmp_path / "log") as one, start(settings, tmp_path / "log") as another:
        assert (one.wait(120), another.wait(120)) == (0, 0)

    card = open_loading_registry(settings).card("far")
    assert (card.path / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert (tmp_path / "log").read_text().count(WEIGHTS) == 1


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ("source: store:a/sd\n", "revision: name the sha256 (64 hex digits) of store:a/sd/SHA256SUMS, so that"),
        (f"source: s3://b/x.safetensors\nrevision: {'a' * 40}\n", "name the sha256 (64 hex digits) of s3://b/x"),
        (f"source: owner/sd\nrevision: {'a' * 64}\n", "is not a commit (40 hex digits)"),
        (
            f"source: store:a/sd\nrevision: {'a' * 64}\nloras: {{x: store:a/x.safetensors}}\n",
            "loras.x: name the sha256",
        ),
    ],
)
def test_a_place_without_a_sha256_is_a_bad_card(card, problem, tmp_path):
    (tmp_path / "far.yaml").write_text(f"family: sd\n{card}")

    (bad,) = CardFolders.read([tmp_path], tmp_path).bad
    assert problem in bad.reason


def test_the_upscaling_network_is_fetched_where_it_is_used(tmp_path):
    network = (PACKAGE_ROOT / "models/builtin/upscaler.safetensors").read_bytes()
    source = f"store:networks/x4.safetensors#{sha256(network)}"
    settings = Settings(home=tmp_path, upscaler_source=source)
    open_store(settings.store).put("networks/x4.safetensors", network, content_type="application/octet-stream")

    change = upscaling(settings).plan(PostProcess(super_resolution="2x"))

    assert change.step.uses == sha256(network)
    assert settings.upscaler.read_bytes() == network
    assert recorded_change(change.step, settings).step == change.step


def test_weights_come_from_any_bucket_of_the_service(tmp_path, s3_server):
    heavy, own = (s3_server.own_bucket().settings() for _ in range(2))
    write_card(tmp_path / "cards", f"s3://{heavy.bucket}/shared/sd", lora=f"store:soft.safetensors#{sha256(LORA)}")
    for store, prefix in ((own, ""), (heavy, "shared/")):
        opened = open_store(store)
        opened.check()
        put_model(opened, prefix)
    settings = Settings(home=tmp_path / "home", model_folders=(tmp_path / "cards",), store=own)
    card = open_loading_registry(settings).card("far")
    fetch_missing(card)

    assert list(open_store(own).read("sd/README.md", 4)) == [b"people"]
    assert (card.path / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert card.lora_path("soft").read_bytes() == LORA
    local = Settings(home=tmp_path / "another", model_folders=(tmp_path / "cards",))
    with pytest.raises(ModelLoadError, match=f"{heavy.bucket}/shared/sd needs a bucket and a key, and store.kind s3"):
        fetch_missing(open_loading_registry(local).card("far"))
