"""What the request queue takes by itself: a submission, and a claim with its end, on a private Redis that syncs each.

Callers are as many threads as a busy gateway has at once: their changes share a sync to disk.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from configs.queue_settings import QueueSettings
from models.request import GenerationRequest
from resources.queue import NewTask, RequestQueue, TaskPicture, TaskResult, new_task_id
from resources.queue.link import RedisLink

_KEY = "20261123/img_64x64.webp"
_PICTURE = TaskPicture(
    original_key=_KEY, thumb_key=_KEY, width_px=64, height_px=64, format="webp", size_bytes=1, seed=0, recipe="{}"
)
_RESULT = TaskResult(pictures=(_PICTURE,))


def run(tasks: int = 2000, callers: int = 16) -> dict[str, float]:
    """Submissions and ends a second, processor time of one each, and the bytes a waiting task takes."""
    with tempfile.TemporaryDirectory() as folder:
        queue = RequestQueue(RedisLink(QueueSettings(path=Path(folder) / "redis")))
        try:
            return _figures(queue, tasks, callers)
        finally:
            queue.close()


def _figures(queue: RequestQueue, tasks: int, callers: int) -> dict[str, float]:
    request = GenerationRequest(text="a cup on a table", model_type="tiny")

    def submit() -> int:
        queue.submit(NewTask(id=new_task_id(), request=request), owner="bench")
        return 1

    def serve() -> int:
        claims = queue.claim("bench", 16)
        return sum(queue.succeed(claim, _RESULT) for claim in claims)

    queue.check()
    before = _memory_bytes(queue)
    submits_s, submit_us = _rate(submit, tasks, callers)
    task_bytes = (_memory_bytes(queue) - before) / tasks
    ends_s, end_us = _rate(serve, tasks, callers)
    return {
        "submits a second": submits_s,
        "processor µs of a submit": submit_us,
        "claims and ends a second": ends_s,
        "processor µs of a claim and end": end_us,
        "bytes of a waiting task": task_bytes,
    }


def _rate(work: Callable[[], int], wanted: int, callers: int) -> tuple[float, float]:
    """Tasks a second, and this process's processor time of one in µs, until every caller has had its share."""
    share = wanted // callers

    def caller() -> int:
        done = 0
        while done < share and (more := work()):
            done += more
        return done

    began_s, spent_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(callers) as threads:
        done = sum(job.result() for job in [threads.submit(caller) for _ in range(callers)])
    return done / (time.perf_counter() - began_s), (time.process_time() - spent_s) / done * 1e6


def _memory_bytes(queue: RequestQueue) -> int:
    return int(queue._link.call(lambda client: client.info("memory"))["used_memory"])
