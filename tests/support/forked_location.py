"""A code location whose runs are forked from a process that has loaded it: each begins at once.

Dagster spawns a process for each run, which takes seconds to load Dagster, the definitions and PyTorch.
"""

import os
from importlib import import_module
from multiprocessing import context, get_context

PRELOADED = "IMAGEGENX_TEST_PRELOADED"
"""The environment variable of the modules to load before, the code location first; by default that of a stand-in."""
REAL = "imagegenx_assets.definitions models.families.stable_diffusion"

modules = os.environ.get(PRELOADED, "benchmarks.stand_in_location").split()
defs = import_module(modules[0]).defs

get_context("spawn").Process = context.ForkServerProcess
get_context("forkserver").set_forkserver_preload(["dagster._cli", __name__, *modules])
