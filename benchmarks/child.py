"""A measurement in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def measured(function: Callable[..., object], *given: object, environment: Mapping[str, str] | None = None) -> Any:
    """What a function of a module returns in a process of its own, which begins with it.

    Args:
        given: its arguments; they, and what it returns, are such that JSON can carry them.
        environment: variables that it gets beside this process's own.
    Raises:
        RuntimeError: with what it said on standard error, if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.child", function.__module__, function.__name__, json.dumps(given)]
    result = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{command[3]}.{command[4]} ended with status {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    _result = getattr(import_module(sys.argv[1]), sys.argv[2])(*json.loads(sys.argv[3]))
    sys.stdout.write(f"{json.dumps(_result)}\n")
