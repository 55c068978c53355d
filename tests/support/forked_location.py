"""A code location whose runs are forked from a process that has loaded it: each begins at once.

Dagster spawns a process for each run, which takes seconds to load Dagster, the definitions and PyTorch. Only a code
server may load this: it changes how its process starts others, and the stand-in replaces the engine.
"""

import os
from importlib import import_module
from multiprocessing import context, get_context

from tests.support.preloaded import STAND_IN, VARIABLE

modules = os.environ.get(VARIABLE, STAND_IN).split()
defs = import_module(modules[0]).defs

get_context("spawn").Process = context.ForkServerProcess
get_context("forkserver").set_forkserver_preload(["dagster._cli", __name__, *modules])
