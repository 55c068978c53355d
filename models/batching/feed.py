"""A list of jobs on its way through the engine, read ahead as far as the engine can use it."""

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from models.batching.ticket import Listener, Ticket
from models.image import FailedImage, GeneratedImage
from models.request import Priority

OnStep = Callable[[str, int, int], None]
Result = GeneratedImage | FailedImage


Job = TypeVar("Job")
_JobTaken = TypeVar("_JobTaken", contravariant=True)


class Intake(Protocol[_JobTaken]):
    """What takes jobs one by one: of the engine, as much as a feed needs."""

    def submit(self, job: _JobTaken, listener: Listener, priority: Priority) -> Ticket | None:
        """Let a job join; None if it has already failed, which the listener was told."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Take a job out before its next step."""
        ...

    def announce(self, more: bool) -> None:
        """Say that jobs are about to be submitted; and later, that none are."""
        ...


class Feed(Generic[Job]):
    """Submits jobs while fewer than `window` are open, and hands their results out. The listener of its own jobs."""

    def __init__(self, intake: Intake[Job], jobs: Iterator[Job], window: int) -> None:
        self._intake = intake
        self._jobs = jobs
        self._window = window
        self._events: SimpleQueue[tuple[str, int, int] | Result] = SimpleQueue()
        self._tickets: list[Ticket] = []
        self._is_announced = False
        self._open = 0
        self._is_exhausted = False

    def results(self, on_step: OnStep) -> Iterator[Result]:
        """Every job's result; steps are told in between, in the caller's thread."""
        while True:
            self._fill()
            if not self._open:
                return
            event = self._events.get()
            if isinstance(event, tuple):
                on_step(*event)
                continue
            self._open -= 1
            yield event

    def close(self) -> None:
        """Cancel what is still under way."""
        self._announce(False)
        for ticket in self._tickets:
            self._intake.cancel(ticket)

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """See `Listener`."""
        self._events.put((job_id, done, total))

    def ended(self, result: Result) -> None:
        """See `Listener`."""
        self._events.put(result)

    def _fill(self) -> None:
        """Read jobs until the window is full, the list ends, or something has happened."""
        while self._open < self._window and not self._is_exhausted and self._events.empty():
            self._announce(True)
            if (job := next(self._jobs, None)) is None:
                self._is_exhausted = True
                break
            self._open += 1
            self._tickets = [ticket for ticket in self._tickets if not ticket.is_ended]
            if ticket := self._intake.submit(job, self, Priority.BULK):
                self._tickets.append(ticket)
        self._announce(not self._is_exhausted and self._open < self._window)

    def _announce(self, more: bool) -> None:
        """Tell the loop whether jobs are about to come, so that it knows what it could wait for."""
        if more != self._is_announced:
            self._intake.announce(more)
            self._is_announced = more
