"""Runs of families that only run as a whole, stopped after each of their steps so that others can go in between."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from models.batching.ticket import Ticket

Pause = Callable[[], None]


class PacedRun:
    """A batch in a thread of its own, which computes only while `go_on` waits for it.

    Args:
        tickets: of the batch; they end by this run alone, also when they are cancelled.
        run: computes the whole batch, and calls what it is given after each step.
        held: what it needs until it is over.
    """

    def __init__(self, tickets: Sequence[Ticket], run: Callable[[Pause], None], held: ExitStack) -> None:
        self.tickets = tickets
        self.is_over = False
        self._run = run
        self._held = held
        self._failure: Exception | None = None
        self._may_go, self._has_paused = threading.Semaphore(0), threading.Semaphore(0)
        for ticket in tickets:
            ticket.is_held = True
        threading.Thread(target=self._work, name="imagegenx-run", daemon=True).start()

    def go_on(self) -> None:
        """Compute to the end of the next step, and raise what the run raised."""
        self._may_go.release()
        self._has_paused.acquire()
        if not self.is_over:
            return
        self._held.close()
        if failure := self._failure:
            self._failure = None
            raise failure

    def _work(self) -> None:
        self._may_go.acquire()
        try:
            self._run(self._pause)
        except Exception as exc:
            self._failure = exc
        finally:
            self.is_over = True
            self._has_paused.release()

    def _pause(self) -> None:
        self._has_paused.release()
        self._may_go.acquire()
