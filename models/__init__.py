"""The request and image types, the model interface and families, the batching engine, the built-in models."""

import os

# PyTorch's CPU threads spin while they wait for each other, and lose their turn to whatever else runs: the pictures
# being encoded beside the next batch, for one. A short spin costs a lone engine 3 % and saves a busy one far more.
# GNU's OpenMP reads this when PyTorch loads it, after this package.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
