"""The upscaling op: real networks, true sizes, and no torch before it is needed."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import save_file

from models.errors import ModelLoadError
from models.esrgan import load_upscaler
from models.upscaling.rrdb import RRDBNet
from ops.upscaling import upscale_step
from tests.support.recipes import some_pixels


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "upscaler.safetensors"
    save_file(RRDBNet(num_features=8, num_blocks=1, growth=4).state_dict(), path)
    return path


@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_are_enlarged_as_asked(network, factor):
    pixels, upscaler = some_pixels(1, width_px=50, height_px=30), load_upscaler(network, "cpu")
    result = upscaler.upscale(pixels, factor)
    assert result.shape == (30 * factor, 50 * factor, 3)
    assert result.dtype == np.uint8
    assert np.array_equal(result, upscaler.upscale(pixels, factor))


def test_the_step_names_scale_and_network(network):
    step = upscale_step("2x", network=network)
    assert (step.op, step.params) == ("upscale", {"scale": 2, "colours": "the picture's, below 2 px"})
    assert step.uses == hashlib.sha256(network.read_bytes()).hexdigest()


def test_another_network_is_another_step(network):
    before = upscale_step("4x", network=network)
    save_file(RRDBNet(num_features=12, num_blocks=1, growth=4).state_dict(), network)
    assert upscale_step("4x", network=network) != before


def test_a_missing_network_is_a_clear_error(tmp_path):
    path = tmp_path / "none.safetensors"
    for ask in (lambda: upscale_step("4x", network=path), lambda: load_upscaler(path, "cpu")):
        with pytest.raises(ModelLoadError) as caught:
            ask()
        assert str(caught.value) == f"upscaling network 'none.safetensors': no file {path}."


def test_post_processing_is_imported_without_torch_and_numpy():
    code = (
        "import sys, ops.upscaling, ops.watermark, ops.thumbnail, models.encoding\n"
        "assert not {'torch', 'numpy', 'PIL.Image'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
