"""A code location whose runs are forked from a process that has loaded it.

Only a code server may load this: the stand-in replaces the engine.
"""

import os
from importlib import import_module

from resources.code_server_runs import PRELOADED
from tests.support.preloaded import STAND_IN, VARIABLE

modules = os.environ.get(VARIABLE, STAND_IN).split()
defs = import_module(modules[0]).defs

PRELOADED.extend(modules)
