import sys
from types import SimpleNamespace

import pytest

from models.gpu_load import GPULoad, memory_used_bytes, read_gpu_loads


class NoDriverError(Exception):
    pass


class Library(SimpleNamespace):
    """A stand-in for NVIDIA's library, which cannot be had without a GPU."""

    NVMLError = NoDriverError
    closed = 0

    def nvmlInit(self):
        if not self.gpus:
            raise NoDriverError("Driver Not Loaded")

    def nvmlShutdown(self):
        self.closed += 1

    def nvmlDeviceGetCount(self):
        if self.gpus == "lost":
            raise NoDriverError("GPU is lost")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return self.gpus[int(uuid.removeprefix("GPU-"))]

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return SimpleNamespace(used=gpu[1], total=gpu[2])

    def nvmlDeviceGetUtilizationRates(self, gpu):
        if gpu[0] is None:
            raise NoDriverError("Not Supported")
        return SimpleNamespace(gpu=gpu[0])


def test_every_gpu_tells_its_load(monkeypatch):
    library = Library(gpus=[(97, 10, 80), (0, 1, 80)])
    monkeypatch.setitem(sys.modules, "pynvml", library)

    assert read_gpu_loads() == (GPULoad(0, 97.0, 10, 80), GPULoad(1, 0.0, 1, 80))
    assert library.closed == 1


def test_a_gpu_that_tells_no_load_is_left_out(monkeypatch):
    library = Library(gpus=[(None, 10, 80), (50, 1, 80)])
    monkeypatch.setitem(sys.modules, "pynvml", library)

    assert read_gpu_loads() == (GPULoad(1, 50.0, 1, 80),)
    assert library.closed == 1


@pytest.mark.parametrize("library", [None, Library(gpus=[]), Library(gpus="lost")])
def test_without_a_gpu_there_is_no_load(monkeypatch, library):
    monkeypatch.setitem(sys.modules, "pynvml", library)

    assert read_gpu_loads() == ()


def test_a_gpu_tells_the_memory_in_use_by_its_uuid(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Library(gpus=[(97, 10, 80), (None, 20, 80)]))

    assert (memory_used_bytes("1"), memory_used_bytes("GPU-0")) == (20, 10)
