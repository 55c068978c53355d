"""Which accelerators this machine has; asked for what is missing, the answer says how to get it."""

import shutil
from importlib.util import find_spec

from models.errors import AcceleratorError


def require_accelerator(accelerator: str, device: str, model: str) -> None:
    """AcceleratorError if a model cannot run with this accelerator on this device."""
    missing = _missing(accelerator, device)
    if missing:
        raise AcceleratorError(f"model '{model}': accelerator '{accelerator}' {missing} Or use auto or eager.")


def has_accelerator(accelerator: str, device: str) -> bool:
    """Whether this machine has what the accelerator needs."""
    return not _missing(accelerator, device)


def _missing(accelerator: str, device: str) -> str:
    on_gpu = device.startswith("cuda")
    if accelerator == "compile" and on_gpu and not find_spec("triton"):
        return "needs Triton, which is not installed: pip install triton."
    if accelerator == "compile" and not on_gpu and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "needs a C++ compiler, and there is none: install g++."
    if accelerator == "tensorrt" and not on_gpu:
        return f"needs an NVIDIA GPU, and this is {device}."
    if accelerator == "tensorrt" and not find_spec("torch_tensorrt"):
        return "needs torch-tensorrt, which is not installed: pip install 'imagegenx[tensorrt]'."
    return ""
