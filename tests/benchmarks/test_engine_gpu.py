import json
import math
import subprocess
import sys
from unittest.mock import patch

import pytest
import torch

from benchmarks import engine_gpu, random_checkpoint
from configs.settings import PACKAGE_ROOT
from models.family_table import FAMILIES

NOT_ON_A_BARE_MACHINE = (
    "dagster",
    "redis",
    "httpx",
    "typer",
    "rich",
    "pyarrow",
    "psutil",
    "prometheus_client",
    "pynvml",
)
"""What a machine with PyTorch, diffusers, transformers, pydantic-settings and PyYAML may lack."""

BARE_RUN = """
import sys
sys.modules.update(dict.fromkeys({names}))
from benchmarks.engine_gpu import main
sys.argv = ["engine_gpu", "--small", "--json", {file!r}]
main()
"""


@pytest.fixture(autouse=True)
def families_of_its_own():
    """The benchmark adds families to those of the process it runs in."""
    with patch.dict(FAMILIES):
        yield


def test_the_gpu_benchmark_measures_on_a_bare_machine_everything_a_cpu_can_when_it_is_small(tmp_path):
    file = tmp_path / "figures.json"
    code = BARE_RUN.format(names=NOT_ON_A_BARE_MACHINE, file=str(file))

    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    for name in ("sd", "sdxl"):
        assert figures[f"{name}: pictures/s, eager"] > 0
        assert figures[f"{name}: eager / diffusers eager"] > 0
        assert figures[f"{name}: PSNR of eager to eager, dB"] == 99
    assert figures["sd: pictures/s of a catalog, stored"] > 0
    assert all(map(math.isfinite, figures.values()))
    assert "sd: GPU busy during a catalog: not known, neither NVML nor nvidia-smi tells it here" in done.stdout


@pytest.mark.parametrize("name", random_checkpoint.ARCHITECTURES)
def test_a_transformer_is_measured_alone(name):
    figures = engine_gpu.run(models=[name], small=True).figures

    assert figures[f"{name}: picture steps/s, 1 in a pass"] > 0
    assert figures[f"{name}: picture steps/s, 4 in a pass"] > 0


def test_mixed_requests_share_the_passes_that_are_measured():
    model = random_checkpoint.random_transformer("flux", small=True, device="cpu", dtype=torch.float32)
    calls = []
    model.transformer.register_forward_hook(lambda module, given, answer: calls.append(1))

    passes = {}
    for most in (1, 8):
        calls.clear()
        random_checkpoint.run(model, random_checkpoint.mixed_recipes(16), most)
        passes[most] = len(calls)

    assert 0 < passes[8] <= passes[1] / 2


def test_what_does_not_fit_the_time_is_named(capsys):
    assert engine_gpu.run(models=["sdxl"], small=True, minutes=0).figures == {}

    parts = ("sdxl: eager", "sdxl: diffusers", "sdxl: the engine's eager mode")
    assert capsys.readouterr().out == "".join(f"  {part}: left out or cut short, the time is up\n" for part in parts)


def test_a_part_that_fails_costs_no_figure_of_another(tmp_path, capsys):
    bench = engine_gpu.Bench(None, "cpu", 2, {}, 8, "eager", math.inf, tmp_path / "figures.json")

    bench.part("first", lambda: bench.note("one", 1.0))
    bench.part("second", lambda: 1 / 0)
    bench.part("third", lambda: bench.note("three", 3.0))

    assert bench.failures == ["second"]
    assert json.loads((tmp_path / "figures.json").read_text()) == {"one": 1.0, "three": 3.0}
    assert "second: FAILED" in capsys.readouterr().out


def test_without_a_gpu_the_full_benchmark_says_so():
    with pytest.raises(
        SystemExit, match=r"^engine_gpu measures a GPU, and PyTorch sees none here\. Try it with --small\.$"
    ):
        engine_gpu.run()
