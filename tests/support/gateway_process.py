"""The gateway as a process of its own."""

import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class GatewayProcess:
    """The process, what it said so far, and where it listens."""

    def __init__(self, home: Path, descriptors: int = 0, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGENX_")}
        chosen = {"HOME": home, "GATEWAY__HTTP_PORT": 0, "GATEWAY__GRPC_PORT": 0} | variables
        environment.update({f"IMAGEGENX_{name}": str(value) for name, value in chosen.items()})
        command = [sys.executable, "-m", "gateway"]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors,) * 2))
            if descriptors
            else None,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        wait_until(lambda: "HTTP on" in self.said or self.process.poll() is not None, timeout_s=60)
        found = re.search(r"HTTP on (http://[0-9.:]+)", self.said)
        assert found, self.said
        return found[1]

    def ended(self) -> int:
        status = self.process.wait(timeout=60)
        self._reader.join()
        self.process.stderr.close()
        return status

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said += line


@contextmanager
def gateway_process(home: Path, descriptors: int = 0, **variables: str) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(home, descriptors, **variables)
    try:
        yield gateway
    finally:
        gateway.process.terminate()  # a gateway that is killed leaves its private Redis
        gateway.ended()
