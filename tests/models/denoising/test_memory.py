import torch

from models.denoising.memory import weights_bytes


def test_shared_tensors_count_once_and_other_parts_not_at_all():
    one = torch.nn.Linear(10, 5)
    both = torch.nn.Sequential(one, torch.nn.BatchNorm1d(5))

    assert weights_bytes([one, "tokenizer", None]) == 55 * 4
    assert weights_bytes([one, both]) == 55 * 4 + 4 * 5 * 4 + 8
