"""Dagster instances for tests: the databases of one take half a second, so that they are made once and copied."""

import atexit
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foundation.private_folder import make_private
from imagegenx_cli import embedded_dagster
from tests.support.own_folder import own_folder

if TYPE_CHECKING:
    from dagster import DagsterInstance

_make = embedded_dagster._make


@contextmanager
def local_instance(folder: Path) -> "Iterator[DagsterInstance]":
    """An instance of this process alone, with new databases in a folder."""
    from dagster import DagsterInstance

    shutil.copytree(_databases(), folder, dirs_exist_ok=True)
    with DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the product copy a new instance's folder instead of making it."""
    monkeypatch.setattr(embedded_dagster, "_make", _copy_instance)


def _copy_instance(folder: Path) -> None:
    template = _instance()
    make_private(folder.parent)
    shutil.copytree(template, folder)


@cache
def _instance() -> Path:
    """A folder as `imagegenx` makes it for a new instance."""
    folder = _own_folder() / "dagster"
    with _environment_kept():
        _make(folder)
    return folder


@cache
def _databases() -> Path:
    """The databases of an instance of Dagster's own making."""
    from dagster import DagsterInstance

    folder = _own_folder()
    with DagsterInstance.local_temp(str(folder)):
        pass
    return folder


def _own_folder() -> Path:
    folder = own_folder("instance")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _environment_kept() -> Iterator[None]:
    former = os.environ.get("DAGSTER_HOME")
    try:
        yield
    finally:
        os.environ.pop("DAGSTER_HOME", None)
        if former is not None:
            os.environ["DAGSTER_HOME"] = former
