"""What a worker tells about itself: totals since its start, and how full its batches are."""

import socket
import threading
import time
from collections.abc import Callable

from models.acceleration.building import process_builds
from models.gpus import GPULoad, read_gpu_loads
from resources.queue import TaskStatus, WorkerState

GPU_LOADS_EVERY_S = 5.0


class Meters:
    """Counters and samples behind the worker's heartbeat. Safe for threads."""

    def __init__(
        self,
        worker_id: str,
        run_id: str,
        max_batch_size: int,
        models: Callable[[], tuple[tuple[str, ...], tuple[str, ...]]] = lambda: ((), ()),
    ) -> None:
        """Count for one worker.

        Args:
            models: gives the models in memory, and those being fetched.
        """
        self._models = models
        self._id = worker_id
        self._run_id = run_id
        self._max_batch_size = max_batch_size
        self._started_at_s = time.time()
        self._counters: dict[str, float] = {}
        self._lock = threading.Lock()
        self._samples = 0
        self._fill = 0.0
        self._gpu_loads: tuple[GPULoad, ...] = ()
        self._gpu_loads_at_s = float("-inf")

    def ended(self, kind: str, status: TaskStatus, seconds: dict[str, float]) -> None:
        """One of the `tasks` of users, or of the picture `jobs`, has ended, after so many seconds in each stage."""
        with self._lock:
            self._count(f"{kind}_{status}", 1)
            for stage, taken_s in seconds.items():
                self._count(f"seconds_{stage}", taken_s)

    def count(self, name: str, more: float = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._count(name, more)

    def sample(self, in_engine: int) -> None:
        """So many pictures are in the engine now; moments in which it has none do not count."""
        if in_engine:
            with self._lock:
                self._samples += 1
                self._fill += min(in_engine, self._max_batch_size) / self._max_batch_size

    def state(self) -> WorkerState:
        """What the next heartbeat says."""
        self._read_gpu_loads()
        loaded, fetching = self._models()
        with self._lock:
            return WorkerState(
                id=self._id,
                host=socket.gethostname(),
                run_id=self._run_id,
                started_at_s=self._started_at_s,
                batch_fill=self._fill / self._samples if self._samples else 0.0,
                gpu_loads=self._gpu_loads,
                loaded=loaded,
                fetching=fetching,
                building=process_builds().now(),
                counters=dict(self._counters),
            )

    def _count(self, name: str, more: float) -> None:
        self._counters[name] = self._counters.get(name, 0.0) + more

    def _read_gpu_loads(self) -> None:
        now = time.monotonic()
        if now - self._gpu_loads_at_s > GPU_LOADS_EVERY_S:
            self._gpu_loads, self._gpu_loads_at_s = read_gpu_loads(), now
