"""docs/api.md: everything to copy from it is run, in its order, against a gateway."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.docs.documents import ROOT, fences
from tests.support.painter import drawn, encoded

PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "api.zh.md")}
HERE = "http://127.0.0.1:8000"
CALL = re.compile(r"^## .*`(GET|POST|DELETE) (/\S+)`$", re.MULTILINE)
PROBES = {("GET", "/livez"), ("GET", "/readyz")}


def examples(language: str) -> list[str]:
    return [body for kind, body in fences(PAGES["api.md"]) if kind == language]


@pytest.fixture
def shown(gateway, key):
    """An example as it is run here."""
    return lambda body: body.replace(HERE, gateway.url).replace('"igx_…"', f'"{key}"')


def test_every_call_is_on_the_page_in_three_languages(client) -> None:
    calls = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
        if not path.startswith("/api/v1/catalogs")
    }
    assert set(CALL.findall(PAGES["api.md"])) == calls - PROBES
    for section in CALL.split(PAGES["api.md"])[3::3]:
        assert [language for language, _ in fences(section)] == ["console", "python", "javascript"]


def test_both_languages_show_the_same_examples() -> None:
    assert fences(PAGES["api.zh.md"]) == fences(PAGES["api.md"])
    assert CALL.findall(PAGES["api.zh.md"]) == CALL.findall(PAGES["api.md"])


def test_the_python_is_right(shown, painter) -> None:
    names: dict[str, Any] = {}
    exec("\n".join(map(shown, examples("python"))), names)
    assert names["picture"]["resolution"] == "128×128"
    assert names["told"][-1]["total"] == 2
    assert names["edited"].data
    names["api"].close()
    names["client"].close()


def test_the_javascript_is_right_in_a_browser(browser: Browser, gateway, shown, painter) -> None:
    page = browser.new_page()
    page.goto(f"{gateway.url}/docs")
    found = page.evaluate(
        f"async () => {{ {' '.join(map(shown, examples('javascript')))}\n"
        "return [done.status, told, edited.data.length, marks.code, health.code]; }"
    )
    page.close()
    assert found[0] == "success"
    assert '"total":2' in found[1]
    assert found[2:] == [1, 200, 200]


def test_the_commands_are_right(shown, painter, key, tmp_path: Path) -> None:
    (tmp_path / "mug.webp").write_bytes(encoded(drawn("a mug", 64, 64), "webp"))
    environment = os.environ | {"KEY": key}
    for command in examples("console"):
        line = shown(command).removeprefix("$ ").replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
        ran = subprocess.run(["bash", "-c", line], env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, (line, ran.stdout, ran.stderr)
        for name, found in re.findall(r'"(task_id|batch_task_id)":"([^"]+)"', ran.stdout):
            variable = {"task_id": "TASK", "batch_task_id": "BATCH"}[name]
            environment.setdefault(variable, found)
