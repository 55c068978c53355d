"""Waiting for work and for changes, without asking again and again."""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Any, NamedTuple

from models.request import Priority
from resources.queue.errors import QueueUnavailableError
from resources.queue.link import RedisLink
from resources.queue.worker import QueueDepth, WorkerState

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 1.0
_RECONNECT_S = 0.5
_END = "end"
"""What the bell is rung for when there is no work but waiting is to end; for work it is rung '1'."""


class Bells(NamedTuple):
    """When the bells were rung last: one for everything that a worker may do, and one for the bulk lane and jobs."""

    any: str = "0-0"
    bulk: str = "0-0"


class Watching:
    """The part of the queue that tells what goes on."""

    _link: RedisLink

    def depth(self) -> QueueDepth:
        """How much there is to do."""
        return self._look()[0]

    def workers(self) -> list[WorkerState]:
        """What the workers that live said with their last heartbeats."""
        return [WorkerState.model_validate_json(state) for state in self._link.run("workers", {})]

    def wait_for_work(self, timeout_s: float) -> bool:
        """Wait until there is something that no worker has; False if there was nothing for `timeout_s`.

        Claims nothing, so that any number may wait. True at once while a backlog lasts. `end_waits` makes it False.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            depth, bells, lease_ends_s = self._look()
            if depth.backlog:
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if _END in wait_for_bells(self._link, bells, left_s, lease_ends_s)[1]:
                return False

    def hear(self, bells: Bells, timeout_s: float, *, with_bulk: bool) -> Bells:
        """Wait until a bell is rung after these, or about `timeout_s`; the bells as they were rung last.

        Args:
            with_bulk: bulk requests and picture jobs are waited for as well.
        """
        return wait_for_bells(self._link, bells, timeout_s, None, with_bulk=with_bulk)[0]

    def end_waits(self) -> None:
        """End every `wait_for_work` that is going on: what it runs in is about to end."""
        self._link.call(lambda client: client.xadd(f"{self._link.prefix}bell", {"rung": _END}, maxlen=1))

    def listen(self, on_change: Callable[[str | None], None], stop: Event) -> None:
        """Call `on_change` with the id of every task whose status or progress changes, until `stop` is set.

        Runs in the calling thread; one listener per process is enough. `on_change(None)` means that changes may have
        been missed, because Redis was away: look at every task you care about. That also is the first call, made when
        the listening has begun. Outages are waited out, not raised.
        """
        while not stop.is_set():
            try:
                self._listen_once(on_change, stop)
            except QueueUnavailableError as exc:
                logger.warning("changes of tasks are not heard: %s", exc)
                stop.wait(_RECONNECT_S)

    def _listen_once(self, on_change: Callable[[str | None], None], stop: Event) -> None:
        self._link.call(lambda client: client.ping())
        open_channel: Callable[..., Any] = self._link.client.pubsub
        with self._link.explained(), open_channel(ignore_subscribe_messages=True) as channel:
            channel.subscribe(f"{self._link.prefix}changes")
            on_change(None)
            dropped = self._link.dropped
            while not stop.is_set() and self._link.dropped == dropped:
                message = channel.get_message(timeout=0.2)
                if message is not None:
                    on_change(str(message["data"]))

    def _look(self) -> tuple[QueueDepth, Bells, float | None]:
        answer = self._link.run("look", {"max_deliveries": self._link.settings.max_deliveries})
        interactive, bulk, jobs, processing, abandoned, oldest_ms, dead, bells, lease_ends_ms = answer
        depth = QueueDepth(
            waiting={Priority.INTERACTIVE: int(interactive), Priority.BULK: int(bulk)},
            jobs=int(jobs),
            processing=int(processing),
            abandoned=int(abandoned),
            oldest_waiting_s=int(oldest_ms) / 1000,
            dead=int(dead),
        )
        return depth, Bells(*bells), int(lease_ends_ms) / 1000 if int(lease_ends_ms) >= 0 else None


def wait_for_bells(
    link: RedisLink, bells: Bells, timeout_s: float, lease_ends_s: float | None, *, with_bulk: bool = True
) -> tuple[Bells, list[str]]:
    """Wait until something is submitted or given back after `bells`, a lease ends, or about `timeout_s` are over.

    Returns the bells as they were rung last, and what for. May return early: one wait is far shorter than Redis may be
    silent, so that a dead one shows as in any call.
    """
    longest_s = min(timeout_s, _LONGEST_WAIT_S, link.settings.connect_timeout_s / 2)
    if lease_ends_s is not None:
        longest_s = min(longest_s, lease_ends_s)
    block_ms = max(1, round(longest_s * 1000))
    names = {f"{link.prefix}bell": "any", f"{link.prefix}bell:bulk": "bulk"}
    streams = {key: getattr(bells, name) for key, name in names.items() if with_bulk or name != "bulk"}

    def wait(client: Any) -> Any:
        return client.xread(streams, count=1, block=block_ms)

    rung = {names[key]: ringings[-1] for key, ringings in link.call(wait)}
    return bells._replace(**{name: id for name, (id, _) in rung.items()}), [said["rung"] for _, said in rung.values()]
