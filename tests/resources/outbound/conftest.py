"""A client that may ask servers on this machine, and finds made-up hosts where a test says they are."""

import io
import socket
from collections.abc import Callable

import pytest
from PIL import Image

from configs.settings import Settings
from resources.outbound.client import OutboundClient


@pytest.fixture
def picture() -> bytes:
    """A PNG file of 8×8 px."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


class Names:
    """A resolver with a table of its own; a host's lists of addresses are given out one after the other."""

    def __init__(self) -> None:
        self.table: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        answers = self.table[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def client(tmp_path, names) -> Callable[..., OutboundClient]:
    """Makes clients: `allowed` hosts, other gateway settings by name, and those of callbacks and pictures."""

    def make(*allowed: str, callbacks=None, pictures=None, **gateway: object) -> OutboundClient:
        settings = Settings(
            home=tmp_path,
            gateway={"allow_private_hosts": allowed, "fetch_timeout_s": 5, **gateway},
            callbacks=callbacks or {},
            pictures=pictures or {},
        )
        return OutboundClient(settings, names)

    return make


@pytest.fixture(autouse=True)
def local_addresses_are_their_own(names):
    names.table["127.0.0.1"] = [["127.0.0.1"]]
