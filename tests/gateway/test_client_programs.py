"""Clients that are no Python library of ours: other languages, generated ones, and one with dependencies of its own."""

import base64
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.docs.documents import ROOT
from tests.gateway.test_clients import MUG, ROWS, row
from tests.support.programs import lacking, program

CLIENTS = ROOT / "tests/clients"
PACKAGES = ROOT / ".venv/node/node_modules"
PATIENCE_S = 300


def run(*command: object, folder: Path | None = None, **environment: str) -> str:
    """What a program prints; what it complains of, where it fails."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size(url: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(httpx.get(url, timeout=60).content)).size


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages of tests/clients."""
    if not (PACKAGES / "openai").is_dir():
        lacking("no npm packages in .venv/node: `make .venv/node/.installed` fetches them", "npm")
    return program("node", "nodejs", package="nodejs")


@row("openai, Node", "`images.generate`, URLs, base64 and `stream`; `images.edit`; `models`", "works")
def test_openai_of_node_makes_pictures(node, gateway, key, painter) -> None:
    mug = base64.b64encode(MUG).decode()
    printed = run(node, CLIENTS / "openai.cjs", gateway.url, key, mug, NODE_PATH=str(PACKAGES))
    seen = json.loads(printed)
    assert [size(url) for url in (*seen["urls"], seen["edited"])] == [(96, 96)] * 3
    assert Image.open(io.BytesIO(base64.b64decode(seen["inline"]))).size == (96, 96)
    assert seen["streamed"] == ["image_generation.partial_image", "image_generation.completed"]
    assert "tiny" in seen["models"]
    assert seen["retrieved"] == "tiny"
    assert seen["refused"] == [400, "background"]


@row("openapi-typescript, openapi-fetch", "types of `/openapi.json`, and calls checked by `tsc --strict`", "works")
def test_calls_in_typescript_are_checked_against_the_document(node, client, tmp_path) -> None:
    (tmp_path / "openapi.json").write_bytes(client.get("/openapi.json").content)
    (tmp_path / "api.ts").write_bytes((CLIENTS / "api.ts").read_bytes())
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    make = "openapi.json --output schema.d.ts --default-non-nullable=false"
    run(node, PACKAGES / "openapi-typescript/bin/cli.js", *make.split(), folder=tmp_path)
    options = "--noEmit --strict --target es2022 --lib es2022,dom --module esnext --moduleResolution bundler"
    run(node, PACKAGES / "typescript/bin/tsc", *options.split(), "--skipLibCheck", "api.ts", folder=tmp_path)


GENERATED = """
import sys
from client import AuthenticatedClient
from client.api.images import generate_api_v1_image_generate_post as generate
from client.api.images import task_api_v1_image_task_task_id_get as look
from client.models import GenerationParams, GenerationRequest
url, key = sys.argv[1:]
caller = AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="X-API-Key")
request = GenerationRequest(text="a mug", params=GenerationParams(resolution="96×96"))
task = generate.sync(client=caller, body=request).data
while not (state := look.sync(task.task_id, client=caller).data).ended_at:
    pass
print(state.result.pictures[0].original_url)
"""


@row("openapi-python-client, generated from `/openapi.json`", "a request and its task", "works")
def test_a_generated_client_makes_a_picture(gateway, client, key, painter, tmp_path) -> None:
    (tmp_path / "openapi.json").write_bytes(client.get("/openapi.json").content)
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    generate = "generate --path openapi.json --config config.yaml --meta none --output-path client"
    told = run(sys.executable, "-m", "openapi_python_client", *generate.split(), "--fail-on-warning", folder=tmp_path)
    assert "Warning" not in told
    assert size(run(sys.executable, "-c", GENERATED, gateway.url, key, folder=tmp_path).strip()) == (96, 96)


LITELLM = """
import sys, litellm
url, key = sys.argv[1:]
made = litellm.image_generation("a mug", model="openai/tiny", api_base=f"{url}/v1", api_key=key, size="96x96", n=2)
print(*(one.url for one in made.data))
"""


@row("LiteLLM", "`image_generation`", "works")
def test_litellm_makes_pictures(gateway, key, painter) -> None:
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm is not here: `make .venv/.installed-dev` fetches it")
    printed = run(sys.executable, "-c", LITELLM, gateway.url, key, LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert [size(url) for url in printed.split()] == [(96, 96)] * 2


def test_the_document_has_these_rows() -> None:
    text = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert listed == ROWS
