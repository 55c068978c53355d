"""Catalog files for tests."""

from pathlib import Path

import pytest

from models.registry import BUILTIN_CARDS, ModelRegistry
from ops.catalog.pictures import INPUTS
from ops.catalog.problems import CatalogError
from ops.catalog.reading import Catalog, read_catalog
from ops.catalog.registered import RegisteredCatalogs

REGISTRY = ModelRegistry.load([BUILTIN_CARDS], "tiny")


def write(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(folder: Path, name: str, text: str | bytes) -> Catalog:
    return read_catalog(write(folder, name, text), REGISTRY)


def problems(folder: Path, name: str, text: str | bytes) -> list[str]:
    """Every problem of a catalog that must be refused."""
    with pytest.raises(CatalogError) as caught:
        read(folder, name, text)
    return [str(problem) for problem in caught.value.problems]


def registered_text(catalogs: RegisteredCatalogs, name: str) -> str:
    """The file of a registered catalog."""
    return catalogs.store.get(INPUTS + catalogs.get(name).content).decode()
