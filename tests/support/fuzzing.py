"""How much made-up data tests send: with FUZZ=10, ten times as much as in a run of all tests."""

import os

TIMES = int(os.environ.get("FUZZ", "1"))
