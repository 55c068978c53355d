"""A real Ray cluster for tests: a head and nodes on loopback addresses, each of the size of a toy."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PATIENT = """
import sys
import time

import psutil
from ray._private import services
from ray.scripts.scripts import main

ask, start, until_s = services.get_node, services.start_ray_process, time.monotonic() + 240

def get_node(*of):
    while True:
        try:
            return ask(*of)
        except RuntimeError:
            if time.monotonic() > until_s:
                raise
            if not any(process.name() == "raylet" and process.status() != "zombie" for process in started()):
                sys.exit("the raylet has ended")
            time.sleep(0.5)

def started():
    return psutil.Process().children()

def start_ray_process(command, kind, **options):
    more = ["--modules-to-load=NodeHead,JobHead"] if kind == "dashboard" else []
    return start([*command, *more], kind, **options)

services.get_node, services.start_ray_process = get_node, start_ray_process
main()
"""
RAY = [sys.executable, "-c", _PATIENT]
"""The command `ray`, whose nodes have four minutes to start, not half a one: machines of tests are busy.

A raylet gives its agent a quarter of a minute to write its port, and ends itself then: such a node is given up at once.
Of the dashboard there is what takes jobs: the other processes that it starts were in the agent's way.
"""
_MEMORY_BYTES = 80_000_000
_WORKERS = 40
_MARK = "IMAGEGENX_TEST_CLUSTER"
"""The variable by which the processes of a cluster are known."""
_START_S = 600
_PORTS = range(20_000, 32_000)
_OF_TESTS = {
    # Nothing is started ahead of need.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Busy machines start a worker or an agent slowly.
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_agent_register_timeout_ms": "240000",
}


class RayNode:
    """The processes of one `ray start --block`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process, self._log = process, log

    def has_joined(self) -> bool:
        """Wait until `ray start` has done its work; False if it has given up."""
        while self._process.poll() is None:
            if b"Ray runtime started" in self._log.read_bytes():
                return True
            time.sleep(0.2)
        return False

    def end(self) -> None:
        """End the node at once: in order, that takes it a quarter of a minute."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                process.kill()
        self._process.kill()
        self._process.wait()


class RayCluster:
    """A head, and nodes that join it; `folder` has a short path, for sockets lie below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[RayNode] = []
        self.port, self.dashboard_port, self.client_port = free_ports(3)

    @property
    def address(self) -> str:
        """Where runs are submitted."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start(self, words: Sequence[str], environment: dict[str, str]) -> RayNode:
        """Run a `ray start …` of a document here: `words` name the addresses; ports and sizes are this cluster's.

        As under a process manager, one that gives up is started again.
        """
        deadline = time.monotonic() + _START_S
        while not (node := self._start(words, environment)).has_joined():
            node.end()
            assert time.monotonic() < deadline, self.logs()
        self.nodes.append(node)
        return node

    def _start(self, words: Sequence[str], environment: dict[str, str]) -> RayNode:
        agent = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port")
        ports = dict(zip((*agent, "metrics-export-port"), free_ports(4), strict=True))
        given = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
        given += ["--worker-port-list", ",".join(map(str, free_ports(_WORKERS)))]
        given += ["--object-store-memory", str(_MEMORY_BYTES), "--include-log-monitor", "false"]
        if "--head" in words:
            given += ["--port", str(self.port), "--dashboard-port", str(self.dashboard_port)]
            given += ["--ray-client-server-port", str(self.client_port), "--temp-dir", str(self.folder)]
        log = self.folder / f"node{len(self.nodes)}.log"
        with log.open("wb") as output:
            environment = os.environ | environment | _OF_TESTS | {_MARK: str(self.folder)}
            process = subprocess.Popen([*RAY, *words[1:], *given], env=environment, stdout=output, stderr=output)
        return RayNode(process, log)

    def logs(self) -> str:
        """The end of what each node has said."""
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(self.folder.glob("node*.log")))


@contextmanager
def ray_cluster(folder: Path) -> Iterator[RayCluster]:
    """A cluster without nodes; those that the block has started are ended after it, the last one first."""
    cluster = RayCluster(folder)
    try:
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.end()
        for process in _marked(str(folder)):
            process.kill()


def _marked(folder: str) -> Iterator[psutil.Process]:
    """What is left of a cluster: processes whose parent had ended before them."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == folder:
                yield process


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, of those that the system gives to no connection by itself."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.create_server(("", port)):
            found.append(port)
        if len(found) == count:
            break
    return found
