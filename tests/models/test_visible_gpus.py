from types import SimpleNamespace

import torch

from models import visible_gpus as module
from models.visible_gpus import VisibleGPU, visible_gpus


def test_the_gpus_are_those_that_pytorch_shows_with_the_memory_that_the_driver_tells(monkeypatch):
    shown = [SimpleNamespace(uuid="b", total_memory=80), SimpleNamespace(uuid="a", total_memory=80)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(shown))
    monkeypatch.setattr(torch.cuda, "get_device_properties", shown.__getitem__)
    monkeypatch.setattr(module, "has_gpus", lambda: True)
    monkeypatch.setattr(module, "memory_used_bytes", {"a": 10, "b": 30}.__getitem__)

    assert visible_gpus() == (VisibleGPU(0, "b", 50), VisibleGPU(1, "a", 70))


def test_a_process_that_may_see_no_gpu_is_shown_none(monkeypatch):
    monkeypatch.setattr(module, "has_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert visible_gpus() == ()
