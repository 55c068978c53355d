"""The deliverer of callbacks: tells the servers that clients named when a task or batch has ended."""

import logging
import os
import random
import secrets
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import prometheus_client

from foundation.logs import log_ids
from gateway.answers import Answers
from gateway.callback_secret import callback_secret
from gateway.service import GatewayService
from resources.outbound import DeliveryRefusedError, OutboundError, UrlRefusedError, open_outbound
from resources.queue import DueCallback, QueueError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
"""Between two looks for callbacks that are due while there are none, s."""
OUTAGE_WAIT_S = 1.0
"""Between two tries to reach the queue while it is away, s."""
OWNER_SHARE = 4
"""One owner has the workers / OWNER_SHARE at most, so that its slow receivers leave workers to others."""
GONE = 410
"""The status by which a receiver wants no more tries of an event."""

DELIVERIES = prometheus_client.Counter(
    "imagegenx_callbacks", "Callbacks by the outcome of a try", ("outcome",), registry=None
)
"""`delivered`, `retried`, or `given_up`; of this process."""


class CallbackDeliverer:
    """Takes callbacks that are due from the queue and POSTs them, on a few threads of its own.

    What is due lives in Redis: it survives restarts, and any gateway takes it. A callback is leased while it is being
    delivered and struck off afterwards, so that one whose gateway dies in between is delivered again: at least once,
    always with the same `webhook-id` and content. A receiver that fails is asked again with growing pauses.
    """

    def __init__(self, service: GatewayService) -> None:
        self._queue = service.queue
        self._answers = Answers(service)
        self._settings = service.settings.callbacks
        self._client = open_outbound(service.settings)
        self._secret = callback_secret(service.settings)
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(self._settings.workers, thread_name_prefix="callback")
        self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more callbacks, and wait for the deliveries under way: `timeout_s` at most."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._workers.shutdown()

    def _run(self) -> None:
        problem = ""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if not self._take():
                    self._wake.wait(LOOK_EVERY_S)
                problem = ""
            except Exception as exc:  # the thread must outlive an outage, and a record that cannot be read
                if str(exc) != problem:
                    logger.warning("callbacks wait: %s", exc, exc_info=not isinstance(exc, QueueError))
                problem = str(exc)
                self._stopping.wait(OUTAGE_WAIT_S)

    def _take(self) -> bool:
        """Hand due callbacks to the free workers; whether there were any."""
        workers = self._settings.workers
        with self._lock:
            under_way = dict(+self._under_way)
        free = workers - sum(under_way.values())
        if not free:
            return False
        share = max(1, workers // OWNER_SHARE)
        due = self._queue.take_due_callbacks(self._name, free, self._lease_s, owner_limit=share, under_way=under_way)
        for callback in due:
            with self._lock:
                self._under_way[callback.owner] += 1
            self._workers.submit(self._work, callback)
        return bool(due)

    @property
    def _lease_s(self) -> float:
        """Longer than any delivery takes, so that no other gateway takes one that is under way."""
        return 1.5 * self._settings.timeout_s + 1

    def _work(self, callback: DueCallback) -> None:
        subject = {"batch_id": callback.batch_id} if callback.batch_id else {"task_id": callback.task_id or ""}
        with log_ids(callback_id=callback.id, **subject):
            self._work_on(callback)

    def _work_on(self, callback: DueCallback) -> None:
        try:
            self._deliver(callback)
        except QueueError as exc:  # its lease ends, then it is delivered again
            logger.warning("callback %s was tried, which could not be noted: %s", callback.id, exc)
        finally:
            with self._lock:
                self._under_way[callback.owner] -= 1
                self._under_way += Counter()  # drops the owners that have none
            self._wake.set()

    def _deliver(self, callback: DueCallback) -> None:
        try:
            self._client.post_signed(callback.url, callback.id, self._event(callback), self._secret)
        except OutboundError as exc:
            self._failed(callback, exc)
        except QueueError:
            raise
        except Exception as exc:  # one callback that cannot be told must not end the thread in silence
            logger.exception("callback %s failed", callback.id)
            self._failed(callback, exc)
        else:
            self._queue.callback_done(callback)
            DELIVERIES.labels("delivered").inc()

    def _event(self, callback: DueCallback) -> dict[str, object]:
        """What is sent: the data of the query call, in the envelope that Standard Webhooks recommends."""
        batch = self._queue.batch(callback.batch_id) if callback.batch_id else None
        data = self._answers.batch(batch, callback.tasks) if batch else self._answers.task(callback.tasks[0])
        ended_s = max(task.updated_at_s for task in callback.tasks)
        return {"type": callback.event, "timestamp": datetime.fromtimestamp(ended_s, UTC).isoformat(), "data": data}

    def _failed(self, callback: DueCallback, exc: Exception) -> None:
        subject, most = callback.batch_id or callback.task_id, self._settings.max_attempts
        if isinstance(exc, UrlRefusedError) or _is_gone(exc) or callback.attempt >= most:
            self._queue.callback_failed(callback, None)
            DELIVERIES.labels("given_up").inc()
            logger.error("callback of %s given up after try %d of %d: %s", subject, callback.attempt, most, exc)
            return
        wait_s = self._wait_s(callback.attempt, exc)
        self._queue.callback_failed(callback, wait_s)
        DELIVERIES.labels("retried").inc()
        logger.warning("callback of %s, try %d of %d, next in %.0f s: %s", subject, callback.attempt, most, wait_s, exc)

    def _wait_s(self, attempt: int, exc: Exception) -> float:
        """Doubles with each try, a quarter more or less so that many do not come back together; what a receiver asks
        for in Retry-After is kept to."""
        wait_s = self._settings.first_retry_s * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)
        asked_s = exc.retry_after_s if isinstance(exc, DeliveryRefusedError) else None
        return min(max(wait_s, asked_s or 0), self._settings.max_retry_s)


def _is_gone(exc: Exception) -> bool:
    return isinstance(exc, DeliveryRefusedError) and exc.status == GONE
