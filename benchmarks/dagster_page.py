"""Dagster's web server asked as its pages ask it."""

import json
from socket import socket
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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
