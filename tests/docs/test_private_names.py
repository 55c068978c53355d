"""The names of Dagster's that are not public: each is listed with its reason, and each is still there."""

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest
from dagster._core.storage import tags

from configs.settings import PACKAGE_ROOT
from resources import dagster_names

PACKAGES = (
    "foundation",
    "configs",
    "models",
    "resources",
    "io_managers",
    "ops",
    "sensors",
    "imagegenx_assets",
    "imagegenx_cli",
    "gateway",
)


@cache
def private_imports() -> list[tuple[str, str, str]]:
    """(file, module, name) of each import of the product from a module of Dagster's that is not public."""
    files = sorted(file for package in PACKAGES for file in (PACKAGE_ROOT / package).rglob("*.py"))
    return [found for file in files for found in _of_file(file)]


def _of_file(file: Path) -> list[tuple[str, str, str]]:
    imports = [
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    return [
        (file.relative_to(PACKAGE_ROOT).as_posix(), node.module, alias.name)
        for node in imports
        if node.module and node.module.startswith("dagster") and "._" in node.module
        for alias in node.names
    ]


def test_every_file_with_such_a_name_is_listed_and_no_other():
    text = (PACKAGE_ROOT / "docs/contributing.md").read_text(encoding="utf-8")
    table = text.partition("that are not public")[2].partition("Also relied on")[0]
    listed = {
        word for line in table.splitlines() if line.startswith("| `") for word in line.split("|")[1].split("`")[1::2]
    }
    assert listed == {file for file, _, _ in private_imports()}


@pytest.mark.parametrize("module", sorted({module for _, module, _ in private_imports()}))
def test_dagster_still_has_them(module):
    names = {name for _, found, name in private_imports() if found == module}
    held = importlib.import_module(module)
    gone = {name for name in names if not hasattr(held, name)}
    assert gone == set()


def test_the_tags_are_those_that_dagster_writes():
    ours = {name: value for name, value in vars(dagster_names).items() if "dagster/" in str(value)}
    theirs = {name: getattr(tags, name.replace("RANGE", "ASSET_PARTITION_RANGE"), None) for name in ours}
    assert len(ours) == 8
    assert ours == theirs
