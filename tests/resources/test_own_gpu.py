"""Which GPU a process takes; processes of their own, since a process keeps the GPU that it took."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from configs.settings import Settings
from models.gpus import VisibleGPU
from resources import own_gpu

PROCESS = """
import sys
from models.gpus import VisibleGPU
from resources import own_gpu
gpus = [argument.split("=") for argument in sys.argv[1:]]
own_gpu.visible_gpus = lambda: tuple(VisibleGPU(n, uuid, int(free)) for n, (uuid, free) in enumerate(gpus))
from configs.settings import load_settings
settings = load_settings()
again = own_gpu.with_own_gpu(settings)
assert own_gpu.with_own_gpu(settings).engine == again.engine
print(again.engine.device, flush=True)
sys.stdin.read()
"""


@contextmanager
def process_that_sees(*gpus):
    """A process that takes one of the GPUs it sees, each given as `uuid=free bytes`; yields the device."""
    command = [sys.executable, "-c", PROCESS, *gpus]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))


@pytest.fixture(params=["auto", "cuda"])
def any_gpu(request, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_ENGINE__DEVICE", request.param)


def test_processes_side_by_side_take_different_gpus_and_one_that_ends_leaves_its_own(any_gpu):
    with ExitStack() as running, process_that_sees("a=9", "b=9") as first:
        second = running.enter_context(process_that_sees("a=9", "b=9"))
        third = running.enter_context(process_that_sees("a=1", "b=5"))
    with process_that_sees("a=9", "b=9") as later:
        assert (first, second, third, later) == ("cuda:0", "cuda:1", "cuda:1", "cuda:0")


def test_the_gpu_with_the_most_free_memory_is_taken_first(any_gpu):
    seen = ("a=10", "b=90", "c=60")
    with process_that_sees(*seen) as first, process_that_sees(*seen) as second:
        assert (first, second) == ("cuda:1", "cuda:2")


def test_a_gpu_is_the_same_one_whatever_number_it_has_and_whatever_the_home(any_gpu, monkeypatch, tmp_path):
    with process_that_sees("b=9") as first:  # CUDA_VISIBLE_DEVICES=1: the second GPU is its first
        monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "another"))
        with process_that_sees("b=9", "a=1") as second:
            assert (first, second) == ("cuda:0", "cuda:1")


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 4), ("cuda:3", 4), ("auto", 0), ("cuda", 0)])
def test_a_named_device_and_a_machine_without_gpus_stay_as_they_are(device, gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(own_gpu, "visible_gpus", lambda: tuple(VisibleGPU(n, f"{n}", 100) for n in range(gpus)))
    settings = Settings(home=tmp_path, engine={"device": device})

    assert own_gpu.with_own_gpu(settings) is settings
