"""Which accelerators this machine has; asked for what is missing, the answer says how to get it."""

import shutil
from functools import cache
from importlib import import_module
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
    if accelerator == "compile" and on_gpu and (problem := _import_problem("triton")):
        return f"needs Triton, which {problem}: pip install triton."
    if accelerator == "compile" and not on_gpu and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "needs a C++ compiler, and there is none: install g++."
    if accelerator == "tensorrt" and not on_gpu:
        return f"needs an NVIDIA GPU, and this is {device}."
    if accelerator == "tensorrt" and (problem := _import_problem("torch_tensorrt")):
        return f"needs torch-tensorrt, which {problem}: pip install 'imagegenx[tensorrt]'."
    return ""


@cache
def _import_problem(package: str) -> str:
    """Why a package cannot be used; it is imported to know, for what is installed may still lack its libraries."""
    if not find_spec(package):
        return "is not installed"
    try:
        import_module(package)
    except Exception as exc:  # missing libraries and unlike versions show in many ways
        return f"is installed but cannot be imported ({type(exc).__name__}: {' '.join(str(exc).split())})"
    return ""
