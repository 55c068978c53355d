"""A worker process whose engine paints at once, takes its time or kills it, as the prompt says. Serves until killed."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.stand_in import StandInEngine, paint
from configs.settings import load_settings
from models.image import GeneratedImage
from models.registry import open_registry
from ops.serving import ServingWorker, WorkerDependencies
from resources.open_store import open_store
from resources.queue import open_queue

PICTURE_S, SLOW_PICTURE_S = 0.02, 0.6


@dataclass
class StandInTicket:
    """A job on its way."""

    seconds: dict[str, float] = field(default_factory=dict)


class SubmittingEngine(StandInEngine):
    """The stand-in with the face that serving uses: one picture at a time, in a thread of its own."""

    def __init__(self):
        super().__init__()
        self._thread = ThreadPoolExecutor(1)

    def submit(self, job, listener, priority):
        """Paint the job."""
        ticket = StandInTicket()
        self._thread.submit(self._paint, job, listener, ticket)
        return ticket

    def cancel(self, ticket):
        """Too late."""

    def announce(self, more):
        """Nobody waits."""

    def models(self):
        """None is in memory, and none on its way."""
        return (), ()

    def _paint(self, job, listener, ticket):
        taken_s = SLOW_PICTURE_S if "slow" in job.recipe.text else PICTURE_S
        time.sleep(taken_s)
        if "poison" in job.recipe.text:
            os.kill(os.getpid(), signal.SIGKILL)
        ticket.seconds = {"denoise": taken_s}
        listener.ended(GeneratedImage(job.id, paint(job.recipe), job.recipe, ticket.seconds))


def main():
    settings = load_settings()
    place = WorkerDependencies(
        settings,
        open_registry(settings),
        SubmittingEngine(),
        open_store(settings.store),
        open_queue(settings),
        warm_up=lambda registry: None,
    )
    worker = ServingWorker(place)
    worker.start()
    worker.end()


if __name__ == "__main__":
    main()
