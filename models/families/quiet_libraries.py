"""Keeps diffusers and transformers from writing over our own output, and from loading what nothing here uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

_RARELY_USED = ("scipy.integrate", "scipy.stats")
"""What samplers compute some schedules with."""


@cache
def quiet_libraries() -> None:
    """Silence both libraries for this process: no bars, errors only. Call it before diffusers is imported.

    They load what is installed, which takes seconds. PEFT is hidden from diffusers, unless it is loaded already:
    adapters are merged by `models/adapters`. SciPy is hidden from transformers, whose losses of training use it; what
    samplers need of it is loaded with its first use.
    """
    is_scipy_available = import_module("transformers.utils.import_utils").is_scipy_available
    is_scipy_available.cache_clear()
    with _hidden("scipy"):
        is_scipy_available()  # which is remembered
    for name in _RARELY_USED:
        sys.modules.setdefault(name, _Later(name))
    # transformers first: importing diffusers alone makes it complain that torchvision is missing.
    with _hidden("peft"):
        for library in ("transformers", "diffusers"):
            logging = import_module(f"{library}.utils.logging")
            logging.set_verbosity_error()
            logging.disable_progress_bar()


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """It cannot be found inside the block, unless it has been imported."""
    is_hidden = sys.modules.setdefault(module, None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if is_hidden:
            del sys.modules[module]


class _Later(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
