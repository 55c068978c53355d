import pytest
import torch

from models.acceleration.exact_rows import ROWS_MULTIPLE, make_rows_exact
from tests.support.workbench import Workbench

ROWS = 16


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def unet(random_models):
    unet = Workbench(random_models.folder).models["small"].unet
    return unet.to(memory_format=torch.channels_last)


def inputs(unet, rows):
    dice = torch.Generator().manual_seed(1)
    sample = torch.randn(ROWS, unet.config.in_channels, 8, 8, generator=dice)
    states = torch.randn(ROWS, 77, unet.config.cross_attention_dim, generator=dice)
    times = torch.arange(ROWS) * 61.0
    return {"sample": sample[rows], "timestep": times[rows], "encoder_hidden_states": states[rows]}


def test_rows_are_the_same_to_the_last_bit_in_any_batch(unet, one_thread):
    make_rows_exact(unet)

    with torch.no_grad():
        together = unet(**inputs(unet, slice(None)))[0]
        for rows in range(ROWS_MULTIPLE, ROWS, ROWS_MULTIPLE):
            for first in (0, 1, ROWS - rows):
                some = slice(first, first + rows)
                assert torch.equal(unet(**inputs(unet, some))[0], together[some]), (rows, first)


def test_what_is_computed_stays_the_same_up_to_rounding(unet):
    with torch.no_grad():
        before = unet(**inputs(unet, slice(None)))[0]
        make_rows_exact(unet)
        after = unet(**inputs(unet, slice(None)))[0]

    assert (after - before).norm() / before.norm() < 1e-5
