import importlib
import json
import sys

import pytest

from benchmarks import running


class Fake:
    """A benchmark module with given figures."""

    def __init__(self, figures, **limits):
        self.run, self.LIMITS = (lambda: figures), limits


@pytest.fixture
def fakes(monkeypatch):
    modules = {
        "benchmarks.quick": Fake({"seconds": 1.25}, seconds=2),
        "benchmarks.slow": Fake({"seconds": 3.0, "pictures": 8}, seconds=2),
    }
    monkeypatch.setattr(running, "import_module", modules.__getitem__)
    monkeypatch.setattr(running, "GROUPS", {"speed": {"quick": "quick:run", "slow": "slow:run"}})


def test_figures_are_shown_with_their_limits_and_written_as_json(fakes, capsys, tmp_path):
    assert running.run(["quick"], tmp_path / "figures.json") == 0

    assert capsys.readouterr().out == "quick:\n  seconds         1.250  within the limit of 2\n"
    assert json.loads((tmp_path / "figures.json").read_text()) == {"quick": {"seconds": 1.25}}


def test_a_figure_above_its_limit_is_told_by_the_exit_status(fakes, capsys):
    assert running.run(["slow"]) == 1

    assert "seconds          3.000  ABOVE the limit of 2" in capsys.readouterr().out


def test_a_group_runs_its_benchmarks_each_once_and_no_name_runs_all(fakes, capsys):
    running.run(["speed", "quick"])
    assert capsys.readouterr().out.count(":\n") == 2

    running.run([])
    assert capsys.readouterr().out.count(":\n") == 2


def test_an_unknown_name_is_refused_before_anything_runs(fakes, capsys):
    with pytest.raises(running.UnknownBenchmarkError, match=r"'quik' is not one of quick, slow, speed. Nearest: quick"):
        running.run(["slow", "quik"])

    assert capsys.readouterr().out == ""


def test_every_registered_benchmark_exists():
    for targets in running.GROUPS.values():
        for module, function, *_ in (target.split(":") for target in targets.values()):
            assert callable(getattr(importlib.import_module(f"benchmarks.{module}"), function))


def test_a_benchmark_of_the_training_says_that_it_needs_a_checkout(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "training" or name == "benchmarks.quality"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "training", None)

    with pytest.raises(running.UnknownBenchmarkError, match="needs the folder training/, .* run it in a checkout"):
        running.run(["builtin_speed"])
