"""NudeNet (notAI-tech), a YOLOv8 network that knows 18 parts of bodies; the package `nudenet` has its weights."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE_PX = 320
_INSTALL = "pip install 'imagegenx[nudenet]'"


class NudeNet:
    """See `models.detector.Detector`. Of the package only the file of weights is used, none of its code."""

    classes = (
        *("FEMALE_GENITALIA_COVERED", "FACE_FEMALE", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED"),
        *("FEMALE_GENITALIA_EXPOSED", "MALE_BREAST_EXPOSED", "ANUS_EXPOSED", "FEET_EXPOSED", "BELLY_COVERED"),
        *("FEET_COVERED", "ARMPITS_COVERED", "ARMPITS_EXPOSED", "FACE_MALE", "BELLY_EXPOSED"),
        *("MALE_GENITALIA_EXPOSED", "ANUS_COVERED", "FEMALE_BREAST_COVERED", "BUTTOCKS_COVERED"),
    )

    @classmethod
    def release(cls) -> str:
        """The package's version. Raises ModelError if it, its weights or ONNX Runtime are missing."""
        _weights()
        try:
            return version("nudenet")
        except PackageNotFoundError as exc:
            raise ModelError(f"needs the package nudenet whole: {_INSTALL}.") from exc

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(_weights(), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def scores(self, pixels: "NDArray[np.uint8]") -> Mapping[str, float]:
        """See `Detector.scores`: of each class, the score of the place that looks most like it."""
        (answer,) = self._session.run(None, {self._input: _as_input(pixels)})
        return dict(zip(self.classes, answer[0, 4:].max(axis=1), strict=True))


def _as_input(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """(1, 3, 320, 320), 0..1: the picture at the upper left, the rest black."""
    from PIL import Image

    height, width = pixels.shape[:2]
    size = tuple(max(round(side * _SIDE_PX / max(height, width)), 1) for side in (width, height))
    square = np.zeros((_SIDE_PX, _SIDE_PX, 3), np.float32)
    square[: size[1], : size[0]] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None] / 255)


def _weights() -> str:
    """Their file. Raises ModelError, naming the command, if there is none, or nothing to run it."""
    found = find_spec("nudenet")
    if found is None or not found.origin or find_spec("onnxruntime") is None:
        raise ModelError(f"needs the packages nudenet (AGPL-3.0) and onnxruntime: {_INSTALL}.")
    file = Path(found.origin).with_name("320n.onnx")
    if not file.is_file():
        raise ModelError(f"the package nudenet has no weights {file.name}: {_INSTALL} --force-reinstall.")
    return str(file)
