"""A measurement in a process of its own: a module of this package run by itself."""

import os
import subprocess
import sys
from collections.abc import Mapping


def child_output(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """The last line that `python -m benchmarks.MODULE` prints.

    Args:
        environment: variables that it gets beside this process's own.
    Raises:
        RuntimeError: with what it said on standard error, if it fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    result = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"benchmarks.{module} ended with status {result.returncode}:\n{result.stderr}")
    return result.stdout.splitlines()[-1]
