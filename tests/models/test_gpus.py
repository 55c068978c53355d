import sys
from types import SimpleNamespace

import pytest
import torch

from models import gpus
from models.gpus import GPULoad, VisibleGPU, memory_used_bytes, read_gpu_loads, visible_gpus


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


def test_the_gpus_are_those_that_pytorch_shows_with_the_memory_that_the_driver_tells(monkeypatch):
    shown = [SimpleNamespace(uuid="b", total_memory=80), SimpleNamespace(uuid="a", total_memory=80)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(shown))
    monkeypatch.setattr(torch.cuda, "get_device_properties", shown.__getitem__)
    monkeypatch.setattr(gpus, "has_gpus", lambda: True)
    monkeypatch.setattr(gpus, "memory_used_bytes", {"a": 10, "b": 30}.__getitem__)

    assert visible_gpus() == (VisibleGPU(0, "b", 50), VisibleGPU(1, "a", 70))


def test_a_process_that_may_see_no_gpu_is_shown_none(monkeypatch):
    monkeypatch.setattr(gpus, "has_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert visible_gpus() == ()
