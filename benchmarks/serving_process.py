"""A serving worker in a process of its own, without Dagster, for `benchmarks.serving`.

`python -m benchmarks.serving_process COUNT STEPS` serves the request queue until its standard input closes. For each
line that comes in there, it prints the seconds that its engine alone takes for so many requests.
"""

import sys
import time
from collections.abc import Iterable

from benchmarks.engine_load import engine_s, open_workplace, uniform_jobs
from configs.settings import load_settings
from ops.serving import ServingWorker, Workplace
from ops.serving.warm_up import import_family
from resources.open_store import open_store
from resources.queue import open_queue

SIZE = "128x128"
EDGE = 8
"""Pictures at either end of a list that do not count: batches fill up, and drain."""


def sustained_s(done_at_s: Iterable[float]) -> float:
    """Seconds that all but the first and the last few pictures took, given when each was done."""
    moments = sorted(done_at_s)
    return moments[-EDGE - 1] - moments[EDGE - 1]


def main(count: int, steps: int) -> None:
    """Serve; time the engine when asked to."""
    settings = load_settings()
    place = open_workplace()
    import_family(place.registry)
    engine_s(place, uniform_jobs(place, 8, SIZE, steps))
    queue, store = open_queue(settings), open_store(settings.store)
    worker = ServingWorker(Workplace(settings, place.registry, place.engine, store, queue))
    worker.start()
    for _ in sys.stdin:
        jobs = uniform_jobs(place, count, SIZE, steps)
        sys.stdout.write(f"{sustained_s(time.perf_counter() for _ in place.engine.generate(jobs))}\n")
        sys.stdout.flush()
    worker.stop(0.0)
    worker.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
