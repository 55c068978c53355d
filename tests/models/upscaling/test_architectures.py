"""Upscaling networks of every architecture that is run: parity with spandrel's, tiles without seams, any scale."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.errors import ModelError, ModelLoadError
from models.esrgan import Upscaler, load_upscaler
from models.file_kinds import Kind, file_kind
from models.upscaling.reading import read_network
from tests.models.upscaling.reference import EVERY, FILE, picture, weights_of

REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture
def network(request, tmp_path):
    weights = weights_of(REFERENCE[request.param]["shapes"])
    save_file(weights, tmp_path / f"{request.param}.safetensors")
    return tmp_path / f"{request.param}.safetensors"


@pytest.mark.parametrize(("network", "values"), [(n, o["values"]) for n, o in REFERENCE.items()], indirect=["network"])
def test_a_network_paints_what_spandrel_paints_with_its_weights(network, values):
    with torch.inference_mode():
        found = read_network(network).eval()(picture())

    scale = int(network.stem.split("_x")[1][0])
    assert found.shape == (1, 3, 16 * scale, 24 * scale)
    assert np.abs(found.flatten()[::EVERY].numpy() - values).max() <= 1e-4 * np.std(values)
    assert (file_kind(network).kind, file_kind(network).reason) == (Kind.UPSCALER, "")


def pixels(height_px: int, width_px: int) -> np.ndarray:
    rows, columns = np.mgrid[:height_px, :width_px] / 9
    values = [np.sin(rows) * np.cos(columns), np.cos(rows + columns), np.sin(rows * columns / 20)]
    return np.uint8(127 + 90 * np.stack(values, axis=2))


@pytest.mark.parametrize(
    "network", [name for name in REFERENCE if not name.startswith(("rrdb", "real"))], indirect=True
)
def test_tiles_leave_no_seams(network):
    upscaler = load_upscaler(network)
    whole = upscaler.upscale(pixels(70, 90), upscaler.scale, tile_px=1000)

    tiled = upscaler.upscale(pixels(70, 90), upscaler.scale, tile_px=40)

    assert np.abs(tiled.astype(int) - whole).max() <= 2


@pytest.mark.parametrize("network", ["compact_x2", "compact_x4", "swinir_x3", "plksr_x3_dccm"], indirect=True)
@pytest.mark.parametrize("scale", [2, 4])
def test_a_network_of_another_scale_enlarges_as_asked(network, scale):
    upscaler = load_upscaler(network)
    small = pixels(18, 14)
    enlarged = upscaler.upscale(small, scale)

    assert enlarged.shape == (18 * scale, 14 * scale, 3)
    if (upscaler.scale, scale) == (2, 4):
        assert np.array_equal(enlarged, upscaler.upscale(upscaler.upscale(small, 2), 2))


@pytest.mark.parametrize("outer", ["params_ema", "params", "state_dict", "model"])
def test_weights_are_found_where_programs_put_them(tmp_path, outer):
    weights = weights_of(REFERENCE["compact_x2"]["shapes"])
    torch.save({"epoch": 3, outer: {f"module.{name}": one for name, one in weights.items()}}, tmp_path / "one.pth")
    save_file({f"params_ema.{name}": one for name, one in weights.items()}, tmp_path / "two.safetensors")
    with torch.inference_mode():
        one, two = (read_network(tmp_path / name)(picture()) for name in ("one.pth", "two.safetensors"))

    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("layers.0.residual_group.blocks.0.attn.logit_scale", "Swin2SR"),
        ("feats.1.lk.convs.0.weight", "PLKSR with sparse kernels"),
        ("feats.1.norm.weight", "RealPLKSR normalized over the whole picture"),
        ("to_img.init_pos", "RealPLKSR with DySample"),
        ("residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "OmniSR"),
        ("unet1.conv1.conv.0.weight", "Real-CUGAN"),
        ("weight", "its architecture"),
    ],
)
def test_other_architectures_are_refused_by_name(tmp_path, name, architecture):
    save_file({name: torch.zeros(2), "conv_first.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    runs = "RRDB (ESRGAN, Real-ESRGAN), compact (SRVGG), SPAN, PLKSR, SwinIR, HAT, DAT"
    with pytest.raises(ModelLoadError) as refused:
        read_network(tmp_path / "other.safetensors")

    assert str(refused.value) == f"upscaling network 'other.safetensors': {architecture} is not run here; {runs} are."
    if architecture != "its architecture":
        assert (file_kind(tmp_path / "other.safetensors").kind) is Kind.UPSCALER
        assert file_kind(tmp_path / "other.safetensors").reason == f"{architecture} is not run here; {runs} are"


@pytest.mark.parametrize(
    "network", ["span_x2", "swinir_x2", "plksr_x4", "compact_x2", "hat_x2", "dat_x2"], indirect=True
)
@pytest.mark.parametrize("change", ["lacking", "unknown", "shape"])
def test_a_network_that_is_not_whole_is_refused(network, change):
    weights = weights_of(REFERENCE[network.stem]["shapes"])
    last = [name for name in weights if name.endswith("bias") and "eval_conv" not in name][-1]
    if change == "lacking":
        del weights[last]
    else:
        weights |= {last if change == "shape" else f"{last.rsplit('.', 1)[0]}.wings": torch.zeros(5)}
    save_file(weights, network)

    with pytest.raises(ModelLoadError, match=f"^upscaling network '{network.name}': not a whole network of "):
        read_network(network)


def test_a_network_that_does_not_enlarge_is_refused(tmp_path):
    shapes = dict(REFERENCE["compact_x2"]["shapes"])
    last = max(shapes, key=lambda name: int(name.split(".")[1]))
    shapes |= {f"{last.rsplit('.', 1)[0]}.weight": [3, 8, 3, 3], f"{last.rsplit('.', 1)[0]}.bias": [3]}
    save_file(weights_of(shapes), tmp_path / "clean.safetensors")

    with pytest.raises(ModelError, match="does not enlarge: it is made to clean pictures"):
        Upscaler(read_network(tmp_path / "clean.safetensors")).upscale(pixels(8, 8), 2)
