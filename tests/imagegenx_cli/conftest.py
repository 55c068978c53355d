"""A home folder with a random model, for commands that run in this process."""

import sys

import pytest

from imagegenx_cli.main import run as run_command
from tests.support.random_model import write_random_model


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """The settings that make a random model the default one; its files are built once."""
    return write_random_model(tmp_path_factory.mktemp("random_model"))


@pytest.fixture
def home(tmp_path, monkeypatch, random_model):
    """An empty home folder, the random model, and the folder for files as working directory."""
    for name, value in random_model.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def imagegenx(home, monkeypatch, capfd):
    """Runs a command line and returns its exit status, standard output and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["imagegenx", *map(str, words)])
        return run_command(), *capfd.readouterr()

    return run
