"""The engine's one loop: it takes turns for all tickets, whoever submitted them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from foundation.error_text import cause_text
from models.batching.step_queue import Groups, StepQueue, Turn
from models.batching.ticket import Ticket
from models.image import FailedImage, GeneratedImage

logger = logging.getLogger(__name__)

CANCELLED = "cancelled"
"""The error of a result whose ticket was cancelled."""

_IDLE_EXIT_S = 300.0


class Report(Protocol):
    """What a runner tells the loop; each ticket it was given steps, ends, or waits for its model."""

    def stepped(self, ticket: Ticket, done: int, total: int) -> None: ...

    def ended(self, ticket: Ticket, result: GeneratedImage | FailedImage) -> None: ...

    def is_back(self) -> None:
        """A group that was away is so no more; told from any thread."""
        ...


class Runner(Groups, Protocol):
    """Computes turns. Every failure is reported as a result, none is raised."""

    def advance(self, turn: Turn, report: Report) -> None:
        """Take the turn's tickets one step further, or to their end, or send for their model."""
        ...


class StepLoop:
    """Runs turns in a thread of its own while there are tickets. Safe for threads.

    It is work-conserving: it waits for company, at most `max_wait_s`, only when nothing of the chosen group has
    started, the batch is not full, and a feed says that more is coming.
    """

    def __init__(self, runner: Runner, max_wait_s: float) -> None:
        self._runner = runner
        self._max_wait_s = max_wait_s
        self._queue = StepQueue(runner)
        self._wake = threading.Condition()
        self._arrivals: deque[Ticket] = deque()
        self._open: set[Ticket] = set()
        self._feeds = 0
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def submit(self, ticket: Ticket) -> None:
        """Let the ticket join at the next step."""
        with self._wake:
            self._open.add(ticket)
            self._arrivals.append(ticket)
            self._start()
            self._wake.notify_all()

    def cancel(self, ticket: Ticket) -> None:
        """Let the ticket leave before the next step; its result is a failure that says `cancelled`."""
        with self._wake:
            ticket.is_cancelled = True
            self._wake.notify_all()

    def announce(self, feeds: int) -> None:
        """So many more (or, if negative, fewer) feeds are about to submit something."""
        with self._wake:
            self._feeds += feeds
            self._wake.notify_all()

    def finish(self) -> None:
        """Wait until no ticket is open, and end the thread; the next ticket starts another."""
        with self._wake:
            self._wake.wait_for(lambda: not self._open)
            self._is_closing = True
            self._wake.notify_all()
            thread = self._thread
        if thread:
            thread.join()
        with self._wake:
            self._is_closing = False

    def stepped(self, ticket: Ticket, done: int, total: int) -> None:
        """See `Report`."""
        ticket.steps_left = total - done
        _tell(lambda: ticket.listener.stepped(ticket.id, done, total), ticket)

    def ended(self, ticket: Ticket, result: GeneratedImage | FailedImage) -> None:
        """See `Report`; may be called from another thread, where pictures are decoded there."""
        with self._wake:
            if ticket.is_ended:
                return
            ticket.is_ended, ticket.state = True, None
        _tell(lambda: ticket.listener.ended(result), ticket)
        with self._wake:
            self._open.discard(ticket)
            self._wake.notify_all()

    def is_back(self) -> None:
        """See `Report`."""
        with self._wake:
            self._wake.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="imagegenx-engine", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        try:
            while turn := self._next_turn():
                self._take(turn)
        except BaseException as exc:
            # A bug of the loop itself: nobody must wait for ever.
            logger.critical("the engine's loop failed", exc_info=exc)
            self._fail_all(f"the engine failed: {type(exc).__name__}: {cause_text(exc)}")

    def _take(self, turn: Turn) -> None:
        # The first step also encodes prompts, and may load a model.
        is_plain = all(ticket.state for ticket in turn[1])
        began = time.monotonic()
        self._runner.advance(turn, self)
        ended = time.monotonic()
        self._queue.served(turn, ended, ended - began if is_plain else None)

    def _next_turn(self) -> Turn | None:
        """The next turn; waits for one, and ends with None if the thread should."""
        idle_since = time.monotonic()
        while True:
            self._drop_cancelled()
            with self._wake:
                self._admit()
                now = time.monotonic()
                turn = self._queue.next(now)
                if turn and not (patience := self._patience(turn, now)):
                    return turn
                if not len(self._queue) and (self._is_closing or now - idle_since > _IDLE_EXIT_S):
                    self._thread = None
                    return None
                self._wake.wait(patience if turn else _IDLE_EXIT_S)

    def _admit(self) -> None:
        while self._arrivals:
            self._queue.add(self._arrivals.popleft())
        for ticket in [ticket for ticket in self._queue if ticket.is_ended or ticket.has_left]:
            self._queue.remove(ticket)

    def _drop_cancelled(self) -> None:
        with self._wake:
            left = (ticket for ticket in self._open if ticket.is_cancelled and not ticket.is_held)
            cancelled = [ticket for ticket in left if not ticket.is_ended]
        for ticket in cancelled:
            self.ended(ticket, FailedImage(ticket.id, ticket.item.recipe, CANCELLED))

    def _patience(self, turn: Turn, now_s: float) -> float:
        """Seconds to wait for company before taking this turn."""
        group, tickets = turn
        started = any(ticket.state for ticket in tickets)
        if started or not self._feeds or len(tickets) >= self._runner.batch_limit(group):
            return 0.0
        return max(0.0, min(ticket.arrived_s for ticket in tickets) + self._max_wait_s - now_s)

    def _fail_all(self, error: str) -> None:
        with self._wake:
            self._thread = None
            tickets = list(self._open)
            self._arrivals.clear()
            self._queue = StepQueue(self._runner)
        for ticket in tickets:
            self.ended(ticket, FailedImage(ticket.id, ticket.item.recipe, error))


def _tell(call: Callable[[], None], ticket: Ticket) -> None:
    try:
        call()
    except Exception:
        # A listener's bug must not stop the others' pictures.
        logger.exception("the listener of job %s failed", ticket.id)
