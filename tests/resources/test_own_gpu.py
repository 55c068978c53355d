"""Which GPU a catalog run takes; processes of their own, since a process keeps the GPU that it took."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from configs.settings import Settings
from models.gpu_load import GPULoad
from resources import own_gpu

PROCESS = """
import sys
from models.gpu_load import GPULoad
from resources import own_gpu
own_gpu.read_gpu_loads = lambda: tuple(GPULoad(n, 0.0, used, 100) for n, used in enumerate(map(int, sys.argv[1:])))
from configs.settings import load_settings
settings = load_settings()
again = own_gpu.with_own_gpu(settings)
assert own_gpu.with_own_gpu(settings).engine == again.engine
print(again.engine.device, flush=True)
sys.stdin.read()
"""


@contextmanager
def run_beside(*used):
    """A process that takes a GPU of a machine whose GPUs use so much of their memory; yields the device."""
    command = [sys.executable, "-c", PROCESS, *map(str, used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture(params=["auto", "cuda"])
def home(request, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_ENGINE__DEVICE", request.param)


def test_runs_side_by_side_take_different_gpus_and_one_that_ends_leaves_its_own(home):
    with ExitStack() as runs, run_beside(0, 0) as first:
        devices = [first, runs.enter_context(run_beside(0, 0)), runs.enter_context(run_beside(50, 20))]
    with run_beside(0, 0) as later:
        devices.append(later)

    assert devices == ["cuda:0", "cuda:1", "cuda:1", "cuda:0"]


def test_the_gpu_with_the_most_free_memory_is_taken_first(home):
    with run_beside(90, 10, 40) as first, run_beside(90, 10, 40) as second:
        assert (first, second) == ("cuda:1", "cuda:2")


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 4), ("cuda:3", 4), ("auto", 1), ("cuda", 1), ("auto", 0)])
def test_a_named_device_and_a_single_gpu_stay_as_they_are(device, gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(own_gpu, "read_gpu_loads", lambda: tuple(GPULoad(n, 0.0, 0, 100) for n in range(gpus)))
    settings = Settings(home=tmp_path, engine={"device": device})

    assert own_gpu.with_own_gpu(settings) is settings
