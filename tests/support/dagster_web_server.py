"""A real Dagster web server on this machine."""

import json
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from configs.settings import PACKAGE_ROOT
from imagegenx_cli.dev import web_server_command

START_LIMIT_S = 120


@contextmanager
def web_server(environment):
    """The address of a web server over the home folder that the environment names, while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = web_server_command(PACKAGE_ROOT / "workspace.yaml", port)
    with subprocess.Popen(
        command, env=environment, cwd=PACKAGE_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/server_info", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def wait_for(url, process):
    """Wait until the process answers there."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        assert process.poll() is None, "the web server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {url} in {START_LIMIT_S} s")


def ask(server, query, **variables):
    """The answer to a GraphQL query, as the pages send them."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{server}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = json.load(answer)
    assert "errors" not in content, content
    return content["data"]
