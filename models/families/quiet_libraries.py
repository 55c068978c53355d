"""Keeps diffusers and transformers from writing progress bars and advice over our own output."""

from functools import cache
from importlib import import_module


@cache
def quiet_libraries() -> None:
    """Silence both libraries for this process: no bars, errors only. Call it before diffusers is imported."""
    # transformers first: importing diffusers alone makes it complain that torchvision is missing.
    for library in ("transformers", "diffusers"):
        logging = import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
