"""A worker process that claims once, says so, and lives until it is killed: `python -m tests… URL NAMESPACE ID COUNT`.

A task whose text is `poison` ends it at once, as a crash in native code would.
"""

import os
import signal
import sys
import time

from configs.queue_settings import QueueSettings
from resources.queue import Claim, RequestQueue, TaskPicture, TaskResult, WorkerState
from resources.queue.link import RedisLink


def done(claim: Claim) -> TaskResult:
    """The result of a task that is done."""
    key = f"{claim.id}.webp"
    picture = TaskPicture(
        original_key=key, thumb_key=key, width_px=64, height_px=64, format="webp", size_bytes=1, seed=1, recipe="{}"
    )
    return TaskResult(pictures=(picture,))


def main(url: str, namespace: str, worker: str, count: str) -> None:
    """Work like a serving run: hold a batch, give every picture of it a moment, then end the tasks."""
    settings = QueueSettings.model_validate({"url": url, "namespace": namespace, "lease_s": 1})
    queue = RequestQueue(RedisLink(settings))
    while True:
        claims = queue.claim(worker, int(count), block_s=0.2)
        queue.renew(WorkerState(id=worker, started_at_s=time.time()), claims)
        print(*(claim.id for claim in claims), flush=True)
        if any(claim.task.request["text"] == "poison" for claim in claims):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(claim.task.request["text"] == "endless" for claim in claims):
            time.sleep(600)
        for claim in claims:
            queue.succeed(claim, done(claim))


if __name__ == "__main__":
    main(*sys.argv[1:])
