"""Measurements in processes of their own, and servers that are waited for and asked.

`python -m benchmarks.processes MODULE FUNCTION ARGUMENTS` is such a measurement.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from socket import socket
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def measured(function: Callable[..., object], *given: object, environment: Mapping[str, str] | None = None) -> Any:
    """What a function of a module returns in a process of its own, which begins with it.

    Args:
        given: its arguments; they, and what it returns, are such that JSON can carry them.
        environment: variables that it gets beside this process's own.
    Raises:
        RuntimeError: with what it said on standard error, if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.processes", function.__module__, function.__name__, json.dumps(given)]
    result = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{command[3]}.{command[4]} ended with status {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(what: str, condition: Callable[[], object], timeout_s: float) -> None:
    """Wait until a condition holds. Raises RuntimeError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)


def answers(address: str) -> bool:
    """Whether a web server is there."""
    try:
        urlopen(f"{address}/server_info", timeout=5).close()
    except OSError:
        return False
    return True


def ask(address: str, query: str, **variables: object) -> dict[str, Any]:
    """The data that answers a GraphQL query; RuntimeError if the web server has something against it."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=300) as answer:
            content = json.load(answer)
    except HTTPError as exc:
        content = {"errors": exc.read().decode(errors="replace")}
    if "errors" in content:
        raise RuntimeError(f"the web server answers: {content['errors']}")
    data: dict[str, Any] = content["data"]
    return data


if __name__ == "__main__":
    _result = getattr(import_module(sys.argv[1]), sys.argv[2])(*json.loads(sys.argv[3]))
    sys.stdout.write(f"{json.dumps(_result)}\n")
