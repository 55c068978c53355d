"""Super-resolution: published weights layouts, tiles without seams, any picture size."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from models.errors import ModelLoadError, PictureError
from models.esrgan import PAINTING_MARGIN, Upscaler, load_upscaler
from models.upscaling.rrdb import RRDBNet


def strong_network(**shape):
    """A network with weights as large as trained ones, so that it sees far, and answers in the middle of [0, 1]."""
    torch.manual_seed(3)
    network = RRDBNet(**{"num_features": 8, "num_blocks": 1, "growth": 4} | shape)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.2)
    with torch.inference_mode():
        answer = network(torch.rand(1, 3, 32, 32))
    network.conv_last.weight.data *= 0.2 / answer.std()
    network.conv_last.bias.data += 0.5 - 0.2 * answer.mean() / answer.std()
    return network


def noise(height_px, width_px, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def largest_difference(one, other):
    return np.abs(one.astype(int) - other).max()


def test_the_published_shape_has_the_published_number_of_weights():
    network = RRDBNet(num_features=64, num_blocks=23, growth=32)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 16_697_987
    assert len(network.state_dict()) == 702


def first_release_names(weights):
    """The sequential layout of the first ESRGAN release."""
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("body.")})
    ends = ["conv_first", None, None, "conv_up1", None, None, "conv_up2", None, "conv_hr", None, "conv_last"]
    if "conv_up2.weight" not in weights:
        ends = ["conv_first", None, None, "conv_up1", None, "conv_hr", None, "conv_last"]
    places = {name: f"model.{place}" for place, name in enumerate(ends) if name}
    places["conv_body"] = f"model.1.sub.{num_blocks}"
    renamed = {}
    for name, tensor in weights.items():
        block = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0.", name)
        stem, kind = name.rsplit(".", 1)
        renamed[block if block != name else f"{places[stem]}.{kind}"] = tensor
    return renamed


def trunk_names(weights):
    """The layout of BSRGAN and of the later ESRGAN release."""
    names = {"body": "RRDB_trunk", "conv_body": "trunk_conv", "conv_hr": "HRconv"}
    names |= {"conv_up1": "upconv1", "conv_up2": "upconv2"}
    return {
        ".".join(names.get(part, part.replace("rdb", "RDB")) for part in name.split(".")): tensor
        for name, tensor in weights.items()
    }


LAYOUTS = {
    "ours.safetensors": lambda weights: weights,
    "bare.pth": lambda weights: weights,
    "params.pth": lambda weights: {"params": weights},
    "params_ema.pth": lambda weights: {"params": {}, "params_ema": weights},
    "half.safetensors": lambda weights: {name: tensor.half() for name, tensor in weights.items()},
    "first_release.pth": first_release_names,
    "first_release.safetensors": first_release_names,
    "trunk.pth": trunk_names,
}


def saved(folder, name, weights):
    path = folder / name
    content = LAYOUTS.get(name, lambda weights: weights)(weights)
    save_file(content, path) if name.endswith(".safetensors") else torch.save(content, path)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("scale", "unshuffle"), [(4, 1), (2, 1), (2, 2)])
def test_published_layouts_load_as_the_same_network(tmp_path, layout, scale, unshuffle):
    network = strong_network(num_blocks=2, scale=scale, unshuffle=unshuffle)
    loaded = load_upscaler(saved(tmp_path, layout, network.state_dict()))
    assert loaded.scale == scale
    pixels = noise(12, 14)
    assert largest_difference(loaded.upscale(pixels, scale), Upscaler(network).upscale(pixels, scale)) <= 1


def test_first_release_names_are_the_published_ones():
    names = set(first_release_names(RRDBNet(num_blocks=23).state_dict()))
    published = {"model.0", "model.1.sub.0.RDB1.conv1.0", "model.1.sub.22.RDB3.conv5.0", "model.1.sub.23"}
    published |= {"model.3", "model.6", "model.8", "model.10"}
    assert {f"{stem}.{kind}" for stem in published for kind in ("weight", "bias")} <= names


def test_a_network_is_loaded_once_until_its_file_changes(tmp_path):
    path = saved(tmp_path, "ours.safetensors", strong_network().state_dict())
    first = load_upscaler(path)
    assert load_upscaler(path) is first
    saved(tmp_path, "ours.safetensors", strong_network(num_features=12).state_dict())
    assert load_upscaler(path) is not first


def test_a_missing_network_is_a_clear_error(tmp_path):
    with pytest.raises(ModelLoadError) as caught:
        load_upscaler(tmp_path / "none.pth")
    assert str(caught.value) == f"upscaling network 'none.pth': no file {tmp_path / 'none.pth'}."


class Evil:
    def __reduce__(self):
        return (print, ("code from a weights file ran",))


def test_a_weights_file_cannot_run_code(tmp_path, capsys):
    torch.save({"params": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelLoadError, match="^upscaling network 'evil.pth' cannot be read: Weights only load failed"):
        load_upscaler(tmp_path / "evil.pth")
    assert "code from a weights file ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_damaged_file_is_a_clear_error(tmp_path, name):
    path = saved(tmp_path, name, strong_network().state_dict())
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelLoadError, match=f"^upscaling network '{name}' cannot be read: "):
        load_upscaler(path)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (RRDBNet(num_in_channels=1).state_dict(), "1 input and 3 output channels: RGB is needed"),
        (RRDBNet(num_out_channels=4).state_dict(), "3 input and 4 output channels: RGB is needed"),
        ({**RRDBNet().state_dict(), "body.0.extra": torch.zeros(3)}, "Error(s) in loading state_dict for RRDBNet"),
    ],
)
def test_another_architecture_is_a_clear_error(tmp_path, weights, reason):
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(ModelLoadError) as caught:
        load_upscaler(tmp_path / "other.safetensors")
    expected = "upscaling network 'other.safetensors': not a whole network of RRDB (ESRGAN, Real-ESRGAN). "
    assert str(caught.value).startswith(expected + reason)


UPSCALERS = {
    (scale, unshuffle, blocks): Upscaler(strong_network(scale=scale, unshuffle=unshuffle, num_blocks=blocks))
    for scale, unshuffle, blocks in [(4, 1, 1), (4, 1, 4), (2, 2, 1)]
}


@settings(max_examples=25, deadline=None)
@given(
    network=st.sampled_from(list(UPSCALERS)),
    height_px=st.integers(1, 90),
    width_px=st.integers(1, 90),
    tile_px=st.integers(9, 60),
    reduced=st.booleans(),
)
def test_tiles_leave_no_seams(network, height_px, width_px, tile_px, reduced):
    upscaler = UPSCALERS[network]
    scale = upscaler.scale // 2 if reduced and upscaler.scale == 4 else upscaler.scale
    pixels = noise(height_px, width_px)
    whole = upscaler.upscale(pixels, scale, tile_px=1000)
    assert whole.shape == (height_px * scale, width_px * scale, 3)
    assert largest_difference(upscaler.upscale(pixels, scale, tile_px=tile_px), whole) <= 1


def test_with_too_little_overlap_seams_would_show():
    upscaler = Upscaler(strong_network())
    pixels = noise(60, 60)
    whole = upscaler.upscale(pixels, 4, tile_px=1000)
    upscaler.overlap = PAINTING_MARGIN
    assert largest_difference(upscaler.upscale(pixels, 4, tile_px=20), whole) > 5


def test_the_network_never_sees_more_than_a_tile():
    network = strong_network(num_features=64, growth=2)
    seen = []
    network.conv_first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[2:]))
    upscaler = Upscaler(network)
    result = upscaler.upscale(noise(20, 1200), 4)
    assert result.shape == (80, 4800, 3)
    assert len(seen) > 3
    assert max(width for _, width in seen) < 300


def test_2x_of_a_4x_network_is_its_picture_reduced():
    upscaler = UPSCALERS[4, 1, 1]
    smooth = np.asarray(Image.fromarray(noise(6, 8)).resize((64, 48), Image.Resampling.BICUBIC))
    reduced = upscaler.upscale(smooth, 2)
    expected = Image.fromarray(upscaler.upscale(smooth, 4)).resize((128, 96), Image.Resampling.BICUBIC)
    assert largest_difference(reduced, np.asarray(expected)) <= 2


@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (1, 3000), (3000, 1), (2, 7), (63, 65)])
@pytest.mark.parametrize("network", UPSCALERS)
def test_every_size_is_enlarged(network, height_px, width_px):
    upscaler = UPSCALERS[network]
    for scale in {2, upscaler.scale}:
        result = upscaler.upscale(noise(height_px, width_px), scale)
        assert result.shape == (height_px * scale, width_px * scale, 3)
        assert result.dtype == np.uint8


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), noise(0, 4)]
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(PictureError) as caught:
        UPSCALERS[4, 1, 1].upscale(pixels, 4)
    assert str(caught.value) == f"pixels {pixels.dtype} of shape {pixels.shape}: uint8 of shape (H, W, 3) is needed."


def test_a_2x_network_asked_for_4x_enlarges_twice():
    upscaler = UPSCALERS[2, 2, 1]
    assert np.array_equal(upscaler.upscale(noise(4, 6), 4), upscaler.upscale(upscaler.upscale(noise(4, 6), 2), 2))
