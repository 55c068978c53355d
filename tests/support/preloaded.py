"""What `forked_location` has loaded before a run begins; apart from it, which changes the process that imports it."""

from configs.settings import PACKAGE_ROOT

LOCATION = "tests.support.forked_location"
VARIABLE = "IMAGEGENX_TEST_PRELOADED"
"""The environment variable of the modules, the code location first."""
STAND_IN = "benchmarks.stand_in_location"
REAL = "imagegenx_assets.definitions"
PAINTING = {VARIABLE: REAL, "PYTHONPATH": str(PACKAGE_ROOT)}
"""Settings of a stack whose runs paint."""
