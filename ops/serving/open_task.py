"""A claimed task on its way through planning, engine and finishing."""

import threading
import time
from dataclasses import dataclass, field

from models.batching.ticket import Ticket
from models.picture_job import PictureJob, PictureOutcome
from models.request import GenerationRequest, Priority
from ops.finish import FinishedPicture, job_outcome
from resources.queue import Claim, Task, TaskPicture, TaskResult


@dataclass
class OpenTask:
    """A claim and how far its pictures are. Safe for threads.

    `is_preparing` is set while its input pictures are fetched. Whatever ends the task calls `close` first; only the
    first call gets to end it.

    Attributes:
        work: what is asked for: a user's request, or a picture job of a catalog.
        shown_at_s: when its previews were asked for last, by the monotonic clock.
    """

    claim: Claim
    work: GenerationRequest | PictureJob
    claimed_at_s: float = field(default_factory=time.time)
    tickets: list[Ticket] = field(default_factory=list)
    is_preparing: bool = False
    shown_at_s: float = float("-inf")
    _pictures: dict[int, FinishedPicture] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _steps: dict[int, float] = field(default_factory=dict)
    _in_finishing: int = 0
    _is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def task(self) -> Task:
        """The task as it was when it was claimed."""
        return self.claim.task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.claim.task.id

    @property
    def job(self) -> PictureJob | None:
        """The picture job that it is, if it is one."""
        return self.work if isinstance(self.work, PictureJob) else None

    @property
    def request(self) -> GenerationRequest:
        """The request that it is; only of a task that is no picture job."""
        assert isinstance(self.work, GenerationRequest)
        return self.work

    @property
    def priority(self) -> Priority:
        """Its lane; jobs are bulk."""
        return Priority.BULK if self.job else self.request.priority

    @property
    def count(self) -> int:
        """Pictures asked for."""
        return 1 if self.job else self.request.params.num_images

    @property
    def is_quick(self) -> bool:
        """Whether it can be planned at once, without asking a network."""
        if self.job:
            return False
        request = self.request
        inputs = any(request.inputs)
        return self.claim.attempt <= 1 and not inputs

    @property
    def is_closed(self) -> bool:
        """Whether somebody has ended it, or is about to."""
        return self._is_closed

    @property
    def is_in_engine(self) -> bool:
        """Whether pictures are still to be generated, and nothing has to be fetched for them first."""
        return not self._is_closed and not self.is_preparing and len(self._pictures) + self._in_finishing < self.count

    @property
    def has_begun(self) -> bool:
        """Whether a denoising step has been done, or a picture."""
        return bool(self._steps)

    def close(self) -> bool:
        """Claim the right to end the task; False if it has been claimed."""
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
            return True

    def stepped(self, n: int, done: int, total: int) -> None:
        """So many denoising steps of picture `n` are done."""
        with self._lock:
            self._steps[n] = done / total

    def generated(self) -> None:
        """One picture has left the engine."""
        with self._lock:
            self._in_finishing += 1

    def finished(self, n: int, picture: FinishedPicture) -> bool:
        """Picture `n` is stored; True if it was the last."""
        with self._lock:
            self._in_finishing -= 1
            self._pictures[n] = picture
            self._steps[n] = 1.0
            for stage, taken_s in picture.seconds.items():
                self._seconds[stage] = self._seconds.get(stage, 0.0) + taken_s
            return len(self._pictures) == self.count

    def percent(self) -> int:
        """Denoising steps done of those to do, below 100 until the task has succeeded."""
        with self._lock:
            return min(99, int(100 * sum(self._steps.values()) / self.count))

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of each stage so far, waiting in the queue among them."""
        with self._lock:
            waited_s = max(0.0, self.claimed_at_s - self.task.created_at_s)
            return {"queue": waited_s, **self._seconds}

    @property
    def gpu_s(self) -> float:
        """Seconds of the device spent on it so far, also on pictures that came to nothing."""
        with self._lock:
            engine_s = sum(sum(list(ticket.seconds.values())) for ticket in self.tickets)
            return engine_s + self._seconds.get("upscale", 0.0)

    def result(self) -> TaskResult:
        """All pictures of a request, in order, and the seconds of each stage."""
        pictures = tuple(task_picture(self._pictures[n]) for n in sorted(self._pictures))
        return TaskResult(pictures=pictures, seconds=self.seconds)

    def outcome(self) -> PictureOutcome:
        """What became of a picture job that is done."""
        assert self.job
        return job_outcome(self.job, self._pictures[1])

    def stored_keys(self) -> list[str]:
        """The object keys written for it so far."""
        with self._lock:
            return [key for one in self._pictures.values() for key in one.keys]


def task_picture(finished: FinishedPicture) -> TaskPicture:
    """A picture as the result of a request has it."""
    return TaskPicture(
        original_key=finished.plan.key,
        thumb_key=finished.thumb_key,
        width_px=finished.width_px,
        height_px=finished.height_px,
        format=finished.plan.format,
        size_bytes=finished.size_bytes,
        seed=finished.plan.recipe.seed,
        recipe=finished.plan.recipe.to_json(),
    )
