"""Keeps diffusers and transformers from writing over our own output, and from loading what nothing here uses."""

import sys
from functools import cache
from importlib import import_module


@cache
def quiet_libraries() -> None:
    """Silence both libraries for this process: no bars, errors only. Call it before diffusers is imported.

    Where PEFT is installed, diffusers loads it with its first model, which takes a second. It is told that there is
    none, unless it is loaded already: adapters are merged by `models/adapters`.
    """
    hidden = sys.modules.setdefault("peft", None) is None  # type: ignore[arg-type]
    # transformers first: importing diffusers alone makes it complain that torchvision is missing.
    for library in ("transformers", "diffusers"):
        logging = import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    if hidden:
        del sys.modules["peft"]
