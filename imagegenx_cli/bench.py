"""`imagegenx bench`."""

from importlib import import_module
from pathlib import Path


def run_benchmarks(names: list[str], json_file: Path | None) -> int:
    """Run the named benchmarks, or all, and print their results.

    Returns:
        the exit status: 1 if a result is beyond its limit.
    Raises:
        ImageGenXError: if there is no benchmark of a name.
    """
    # By name, because the benchmarks stand above the command line and may use it.
    status: int = import_module("benchmarks.running").run(names, json_file)
    return status
