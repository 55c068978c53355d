"""What Prometheus sees of the gateway, the queue, the workers and the tasks."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from foundation.errors import FailureCause
from gateway.callbacks import DELIVERIES
from gateway.health import Health
from resources.queue import QueueError, RequestQueue, Task, TaskStatus

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 1.0
"""Tasks that changed are looked at together, this often."""
REMEMBERED = 20_000
"""Ended tasks kept in mind, so that none is counted twice."""

_HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_TASK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class GatewayMetrics:
    """Counts calls as they are answered and tasks as they end; asks the queue when it is scraped.

    Every gateway process hears of every task: over several of them, take the maximum of the task metrics, not the sum.
    """

    def __init__(self, queue: RequestQueue, health: Callable[[], Health]) -> None:
        self._queue = queue
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "imagegenx_http_seconds",
            "Time to answer a call; of the gRPC face, with the method gRPC and its calls' names as routes",
            ("method", "route", "status"),
            buckets=_HTTP_BUCKETS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "imagegenx_task_seconds",
            "Time of a task in a stage; 'total' is from submission to success",
            ("stage",),
            buckets=_TASK_BUCKETS,
            registry=self._registry,
        )
        self._ended = Counter("imagegenx_tasks", "Tasks ended", ("status",), registry=self._registry)
        self._failures = Counter("imagegenx_task_failures", "Tasks failed", ("cause",), registry=self._registry)
        # Whatever will be counted begins at 0: where a first failure begins a series, no rate shows it.
        for status in TaskStatus:
            if status.ended:
                self._ended.labels(status.value)
        for cause in FailureCause:
            self._failures.labels(cause.value)
        self._registry.register(_QueueCollector(queue, health))
        self._registry.register(DELIVERIES)
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._counted: OrderedDict[str, None] = OrderedDict()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, name="metrics", daemon=True)

    def observe_call(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered call."""
        self._calls.labels(method, route or "unknown", str(status)).observe(seconds)

    def heard(self, task_id: str) -> None:
        """Note that a task has changed."""
        with self._lock:
            self._changed.add(task_id)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def start(self) -> None:
        """Begin to count tasks."""
        self._thread.start()

    def stop(self) -> None:
        """Count what is left and end."""
        self._stop.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._stop.wait(COUNT_EVERY_S):
            self._count_changed()

    def _count_changed(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        try:
            tasks = self._read([task_id for task_id in changed if task_id not in self._counted])
        except QueueError as exc:
            with self._lock:
                self._changed |= changed
            logger.warning("tasks not counted yet: %s", exc)
            return
        for task in tasks:
            if task and task.status.ended:
                self._count_ended(task)

    def _read(self, task_ids: list[str]) -> list[Task | None]:
        """The tasks, without those whose records cannot be read: one of them must not end the counting of all."""
        try:
            return self._queue.tasks(task_ids)
        except QueueError:
            raise
        except Exception as exc:
            if len(task_ids) > 1:
                return [task for task_id in task_ids for task in self._read([task_id])]
            logger.error("task %s is not counted, its record cannot be read: %s", task_ids[0], exc)
            return []

    def _count_ended(self, task: Task) -> None:
        self._counted[task.id] = None
        if len(self._counted) > REMEMBERED:
            self._counted.popitem(last=False)
        self._ended.labels(task.status.value).inc()
        if task.cause:
            self._failures.labels(task.cause.value).inc()
        if task.result:
            self._stages.labels("total").observe(task.updated_at_s - task.created_at_s)
            for stage, seconds in task.result.seconds.items():
                self._stages.labels(stage).observe(seconds)


class _QueueCollector(Collector):
    """Asks queue, store and workers at every scrape."""

    def __init__(self, queue: RequestQueue, health: Callable[[], Health]) -> None:
        self._queue, self._health = queue, health

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is, is known when it is asked for."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment; only what is up while Redis takes no requests."""
        health = self._health()
        queue_up, metrics = health.queue["status"] == "up", list[Metric]()
        if queue_up:
            try:
                metrics = [*self._depth(), *self._workers()]
            except QueueError:
                queue_up = False
        yield GaugeMetricFamily("imagegenx_queue_up", "1 while the request queue takes requests", queue_up)
        store_up = health.store["status"] == "up"
        yield GaugeMetricFamily("imagegenx_store_up", "1 while the object store takes what is written", store_up)
        refused = health.store.get("refused_catalogs")
        if isinstance(refused, int):
            yield GaugeMetricFamily("imagegenx_catalogs_refused", "Catalog files that are refused", refused)
        yield from metrics

    def _depth(self) -> Iterator[Metric]:
        depth = self._queue.depth()
        waiting = GaugeMetricFamily("imagegenx_queue_waiting", "Requests waiting", labels=("lane",))
        for lane, count in depth.waiting.items():
            waiting.add_metric((str(lane),), count)
        yield waiting
        most = "Requests that may wait (queue.max_waiting)"
        yield GaugeMetricFamily("imagegenx_queue_max_waiting", most, self._queue.max_waiting)
        yield GaugeMetricFamily("imagegenx_queue_jobs_waiting", "Picture jobs of catalogs waiting", depth.jobs)
        oldest = "Age of the oldest waiting request"
        yield GaugeMetricFamily("imagegenx_queue_oldest_waiting_seconds", oldest, depth.oldest_waiting_s)
        yield GaugeMetricFamily("imagegenx_queue_processing", "Requests claimed by workers", depth.processing)
        yield GaugeMetricFamily("imagegenx_queue_abandoned", "Claims whose worker is gone", depth.abandoned)
        yield GaugeMetricFamily("imagegenx_queue_dead", "Requests in the dead-letter stream", depth.dead)

    def _workers(self) -> Iterator[Metric]:
        workers = self._queue.workers()
        yield GaugeMetricFamily("imagegenx_workers", "Live workers", len(workers))
        fill = GaugeMetricFamily("imagegenx_batch_fill", "Mean share of a batch in use", labels=("worker",))
        gpu = ("worker", "device")
        load = GaugeMetricFamily("imagegenx_gpu_utilization_percent", "GPU utilization", labels=gpu)
        used = GaugeMetricFamily("imagegenx_gpu_memory_used_bytes", "GPU memory in use", labels=gpu)
        total = GaugeMetricFamily("imagegenx_gpu_memory_total_bytes", "GPU memory", labels=gpu)
        events = CounterMetricFamily("imagegenx_worker_events", "What workers count", labels=("worker", "event"))
        for worker in workers:
            fill.add_metric((worker.id,), worker.batch_fill)
            for name, value in worker.counters.items():
                events.add_metric((worker.id, name), value)
            for device in worker.gpu_loads:
                labels = (worker.id, str(device.device_id))
                load.add_metric(labels, device.utilization)
                used.add_metric(labels, device.memory_used_bytes)
                total.add_metric(labels, device.memory_total_bytes)
        yield from (fill, load, used, total, events)
