"""Which accelerators this machine has; asked for what is missing, the answer says how to get it."""

import logging
import os
import re
import shutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from foundation.error_text import cause_text
from models.errors import AcceleratorError

logger = logging.getLogger(__name__)


def require_accelerator(accelerator: str, device: str, model: str) -> None:
    """AcceleratorError if a model cannot run with this accelerator on this device."""
    missing = _missing(accelerator, device)
    if missing:
        raise AcceleratorError(f"model '{model}': accelerator '{accelerator}' {missing} Or use auto or eager.")


def has_accelerator(accelerator: str, device: str) -> bool:
    """Whether this machine has what the accelerator needs."""
    return not _missing(accelerator, device)


@cache
def computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16: AVX512_BF16, AMX or Arm's BF16, as Linux lists them."""
    try:
        listed = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"^(flags|Features)\s*:.*\b(avx512_bf16|amx_bf16|bf16)\b", listed, re.MULTILINE))


@cache
def warn_of_missing(accelerator: str, device: str) -> None:
    """Say once in a process why `auto` does without an accelerator."""
    logger.warning("accelerator auto takes eager on %s: %s %s", device, accelerator, _missing(accelerator, device))


def keep_graphs(folder: Path) -> None:
    """Have PyTorch keep compiled code here, and not where it is lost with the machine's temporary files.

    TORCHINDUCTOR_CACHE_DIR, where the operator has set it, names another folder. It must be called before anything is
    compiled: PyTorch then sets the variable itself.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def _missing(accelerator: str, device: str) -> str:
    on_gpu = device.startswith("cuda")
    if accelerator == "compile" and on_gpu and (problem := _import_problem("triton")):
        return f"needs Triton, which {problem}: pip install triton."
    if accelerator == "compile" and on_gpu and not _is_here(os.environ.get("CC"), "gcc", "cc", "clang"):
        return "needs a C compiler, with which Triton builds its kernels' launchers, and there is none: install gcc."
    if accelerator == "compile" and not on_gpu and not _is_here(os.environ.get("CXX"), "c++", "g++", "clang++"):
        return "needs a C++ compiler, and there is none: install g++."
    if accelerator == "tensorrt" and not on_gpu:
        return f"needs an NVIDIA GPU, and this is {device}."
    if accelerator == "tensorrt" and (problem := _import_problem("torch_tensorrt")):
        return f"needs torch-tensorrt, which {problem}: pip install 'imagegenx[tensorrt]'."
    if accelerator == "openvino" and on_gpu:
        return f"computes on CPUs, and this is {device}."
    if accelerator == "openvino" and (problem := _import_problem("openvino")):
        return f"needs OpenVINO, which {problem}: pip install 'imagegenx[openvino]'."
    if accelerator == "compile" and (problem := _compile_problem(device)):
        return f"cannot compile the smallest function here ({problem}). Correct that."
    return ""


@cache
def _compile_problem(device: str) -> str:
    """Why PyTorch compiles nothing on this device; tried, for a missing header or driver shows in no other way.

    Known before anything is planned: what is planned as compiled is either painted so or refused.
    """
    import torch

    try:
        torch.compile(torch.sin, dynamic=False)(torch.zeros(8, device=device))
    except torch.OutOfMemoryError:
        raise
    except Exception as exc:  # a missing compiler or header, a driver, a kernel: each raises its own
        return compile_failure(exc)
    return ""


def compile_failure(exc: Exception) -> str:
    """Why something could not be compiled, without the advice to PyTorch's developers that follows."""
    return cause_text(RuntimeError(str(exc).partition("\n\n")[0] or type(exc).__name__))


def _is_here(*programs: str | None) -> bool:
    return any(shutil.which(program) for program in programs if program)


@cache
def _import_problem(package: str) -> str:
    """Why a package cannot be used; it is imported to know, for what is installed may still lack its libraries."""
    if not find_spec(package):
        return "is not installed"
    try:
        import_module(package)
    except Exception as exc:  # missing libraries and unlike versions show in many ways
        return f"is installed but cannot be imported ({type(exc).__name__}: {cause_text(exc)})"
    return ""
