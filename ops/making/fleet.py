"""Pictures made by the workers of the fleet, whichever machines they are on."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import islice
from typing import TypeVar
from uuid import uuid4

from configs.settings import Settings
from models.picture_job import PictureJob, PictureOutcome
from models.placement import Placement
from models.resolution import Resolution
from ops.making.maker import OnStep
from ops.serving.patience import OutageError, Patience
from resources.queue import QueueUnavailableError, RequestQueue, catalog_owner
from resources.queue.trouble import UNREACHABLE

logger = logging.getLogger(__name__)

SHORTEST_WINDOW = 64
WINDOW_BATCHES = 4
"""Jobs open for each worker, in multiples of what one computes at once: what a worker needs is always there for it."""
MOST_AT_ONCE = 64
"""Jobs in one call, since a script of Redis holds up every other."""
LOOK_S = 5.0
"""Workers are counted, and steps looked up, so often."""
WATCHED_STEPS = 32
BLOCK_S = 1.0
PACE_S = 0.1
"""Between two looks at what has ended, so that one call brings much of it; the window is longer than this."""
SILENT_S = 30.0
"""After so long without an outcome all open jobs are asked for again: a Redis may have lost everything unnoticed."""

Answer = TypeVar("Answer")


class FleetMaker:
    """Submits jobs to the queue, a bounded window at a time, and waits for what becomes of them.

    What is under way belongs to the queue: if this process is killed, its jobs are finished nevertheless, and whoever
    runs the catalog again finds their pictures or joins them.
    """

    def __init__(self, queue: RequestQueue, catalog: str, settings: Settings) -> None:
        self._queue = queue
        self._owner = catalog_owner(catalog)
        self._settings = settings
        self._patience = Patience(settings.serving.outage_patience_s, threading.Event())

    def kind(self, model: str, size: Resolution) -> str:
        """See `PictureMaker.kind`; what the model's last worker announced."""
        placement = self._placements.get(model)
        return placement.kind(size) if placement else ""

    def ensure(self, jobs: Iterable[PictureJob], on_step: OnStep) -> Iterator[PictureOutcome]:
        """See `PictureMaker.ensure`."""
        session = _Session(self._queue, self._owner, self._patience, self._settings.engine.max_batch_size, on_step)
        try:
            yield from session.outcomes(iter(jobs))
        finally:
            session.close()

    @cached_property
    def _placements(self) -> dict[str, Placement]:
        return self._patience.until_it_works(self._queue.placements)


class _Session:
    """One client of the queue, with the jobs it waits for.

    Args:
        batch: pictures that a worker computes at once.
    """

    def __init__(self, queue: RequestQueue, owner: str, patience: Patience, batch: int, on_step: OnStep) -> None:
        self._queue, self._owner, self._patience = queue, owner, patience
        self._batch = batch
        self._on_step = on_step
        self._client = f"{owner}:{uuid4().hex}"
        self._open: dict[str, PictureJob] = {}
        self._ended: list[str] = []
        self._window = SHORTEST_WINDOW
        self._looked_s = self._heard_s = float("-inf")
        self._is_doubtful = False

    def outcomes(self, jobs: Iterator[PictureJob]) -> Iterator[PictureOutcome]:
        """The outcome of each job; a new one is read when there is room for it in the window."""
        is_exhausted = False
        self._heard_s = time.monotonic()
        while not is_exhausted or self._open:
            self._look()
            room = self._window - len(self._open)
            wanted = min(room, MOST_AT_ONCE) if room >= min(MOST_AT_ONCE, self._window // 4) else 0
            if wanted and not is_exhausted:
                new = list(islice(jobs, wanted))
                is_exhausted = len(new) < wanted
                self._submit(new)
            block_s = 0.0 if wanted and not is_exhausted else BLOCK_S
            time.sleep(PACE_S if block_s else 0.0)
            for outcome in self._ask(partial(self._queue.outcomes, self._client, block_s)):
                if self._open.pop(outcome.id, None):
                    self._ended.append(outcome.id)
                    self._heard_s = time.monotonic()
                    yield outcome
            self._forget()

    def close(self) -> None:
        """Withdraw what is under way; without Redis it is finished in vain."""
        with suppress(QueueUnavailableError):
            self._queue.withdraw(self._client)

    def _submit(self, jobs: Sequence[PictureJob]) -> None:
        """Ask for new jobs. Their pictures were looked for in vain, so whatever was made lately is made again."""
        if jobs:
            self._ask(lambda: self._queue.ensure(jobs, owner=self._owner, client=self._client, anew=True))
            self._open.update({job.id: job for job in jobs})

    def _forget(self) -> None:
        if self._ended and (len(self._ended) >= MOST_AT_ONCE or not self._open):
            ended, self._ended = self._ended, []
            self._ask(lambda: self._queue.forget(self._client, ended))

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """What the queue answers; after an outage it is told again what this client waits for."""

        def asked() -> Answer:
            try:
                if self._is_doubtful:
                    self._ensure_again()
                return call()
            except QueueUnavailableError:
                self._is_doubtful = True
                raise

        try:
            return self._patience.until_it_works(asked)
        except OutageError as exc:
            trouble = exc.__cause__.trouble if isinstance(exc.__cause__, QueueUnavailableError) else UNREACHABLE
            raise QueueUnavailableError(str(exc), trouble) from exc

    def _ensure_again(self) -> None:
        jobs = list(self._open.values())
        for start in range(0, len(jobs), MOST_AT_ONCE):
            self._queue.ensure(jobs[start : start + MOST_AT_ONCE], owner=self._owner, client=self._client)
        self._is_doubtful = False

    def _look(self) -> None:
        """From time to time: how many workers there are, and how far the jobs are that have been open longest."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        with suppress(QueueUnavailableError):
            workers = len(self._queue.workers())
            self._window = self._share(self._batch * workers, self._queue.depth().jobs - len(self._open))
            self._doubt_silence(workers)
            for task in self._queue.tasks(list(islice(self._open, WATCHED_STEPS))):
                if task and task.progress:
                    steps = self._open[task.id].recipe.steps
                    self._on_step(task.id, steps * task.progress // 100, steps)

    @staticmethod
    def _share(at_once: int, others: int) -> int:
        """The window, given what the fleet computes at once and how many jobs of others wait at least.

        Where many catalogs keep the fleet busy together, each may have as many open as let it have all of the fleet.
        """
        return max(SHORTEST_WINDOW, at_once, WINDOW_BATCHES * at_once - max(0, others))

    def _doubt_silence(self, workers: int) -> None:
        if not self._open or time.monotonic() - self._heard_s < SILENT_S:
            return
        self._heard_s, self._is_doubtful = time.monotonic(), True
        if workers == 0:
            logger.warning(
                "%d pictures of %s wait, and no worker lives: `queue_sensor` starts some while Dagster's daemon runs.",
                len(self._open),
                self._owner,
            )
