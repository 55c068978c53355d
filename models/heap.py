"""How the C library keeps memory between the passes of a model on a CPU."""

import ctypes
import logging
from functools import cache

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 << 20
_LARGEST_BYTES = 32 << 20
"""The largest block that glibc's heap takes; larger ones are always mapped and unmapped."""


@cache
def keep_freed_memory() -> None:
    """Have glibc keep what one pass frees for the next one, instead of giving it to the system and asking for it again.

    It does so by itself in a program's main thread only, where its thresholds grow with use. In the engine's thread,
    each pass had its memory zeroed by the kernel, which took 8 % of the time of small pictures. Other C libraries are
    left as they are.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    if not (set_option(_M_MMAP_THRESHOLD, _LARGEST_BYTES) and set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)):
        logger.info("the C library takes no advice on memory: passes on a CPU are a little slower")


def return_freed_memory() -> None:
    """Give the system what is kept."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
