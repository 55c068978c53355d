"""`imagegenx bench`."""

from importlib import import_module
from pathlib import Path

from imagegenx_cli.files import check_writable


def run_benchmarks(names: list[str], json_file: Path | None) -> int:
    """Run the named benchmarks, or all, and print their results.

    Returns:
        the exit status: 1 if a result is beyond its limit.
    """
    if json_file:
        check_writable(json_file)
    # By name, because the benchmarks stand above the command line and may use it.
    status: int = import_module("benchmarks.running").run(names, json_file)
    return status
