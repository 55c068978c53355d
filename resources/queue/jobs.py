"""Picture jobs: the side of the queue that catalogs use. They ask for pictures, and hear what became of them."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from models.picture_job import PictureJob, PictureOutcome
from resources.queue.errors import QueueUnavailableError
from resources.queue.link import RedisLink
from resources.queue.task import failure_cause

_LOOK_AGAIN_S = 3.0
"""A client that hears nothing looks at all of its jobs so often: the word that one has ended may have been lost.

Not while it hears of others, since a look at many jobs holds up Redis.
"""
_LONGEST_WAIT_S = 1.0

CATALOG_OWNER = "catalog:"
"""Begins the names of owners that are catalogs; no user's name does."""


class PictureJobs:
    """The part of the queue that catalog runs use.

    A client is one of those who wait for pictures: a run, say. Two clients that want the same picture share one job.
    Jobs count towards no limit of users and are not among their tasks: what a client asks for at once is its to bound.
    """

    _link: RedisLink
    _heard_s: dict[str, float]

    def ensure(self, jobs: Sequence[PictureJob], *, owner: str, client: str, anew: bool = False) -> None:
        """Have these pictures made, if nobody makes them already; `outcomes` tells the client of each. One round trip.

        A job that has succeeded lately is answered at once, one that has failed is tried again. Ensuring what the
        client waits for already changes nothing: after a QueueUnavailableError, ensure everything that is open.

        Args:
            owner: who takes turns with other catalogs and with users; `catalog_owner(name)`.
            anew: make pictures again that were made lately: they are no longer in the store.
        """
        new = [{"id": job.id, "job": job.model_dump_json()} for job in jobs]
        if new:
            self._link.run("ensure", {"jobs": new, "owner": owner, "client": client, "anew": anew})

    def outcomes(self, client: str, block_s: float = 0) -> list[PictureOutcome]:
        """What has ended of what a client waits for, after waiting up to `block_s` for the first of it.

        An outcome comes again until it is forgotten, so that one whose answer was lost is not.

        Raises:
            QueueUnavailableError: Redis cannot be used now, or has lost jobs: ensure everything that is open again.
        """
        deadline = time.monotonic() + block_s
        while True:
            found = self._ended(client)
            left_s = deadline - time.monotonic()
            if found or left_s <= 0:
                return found
            self._wait_for_answer(client, left_s)

    def forget(self, client: str, ids: Iterable[str]) -> None:
        """Wait for these jobs no more. What nobody waits for is forgotten if it has ended, and cancelled if not."""
        if ids := list(ids):
            self._link.run("forget", {"client": client, "ids": ids})

    def withdraw(self, client: str) -> None:
        """Wait for nothing more: `forget` of all jobs of a client, which is gone then."""
        self._link.run("forget", {"client": client})
        self._heard_s.pop(client, None)

    def _ended(self, client: str) -> list[PictureOutcome]:
        now_s = time.monotonic()
        heard_s = self._heard_s.pop(client, float("-inf"))  # if this fails, the next call looks at all jobs
        look_at_all = now_s - heard_s >= _LOOK_AGAIN_S
        ended = self._link.run("outcomes", {"client": client, "all": look_at_all})
        if lost := [id for id, status, *_ in ended if not status]:
            raise QueueUnavailableError(
                f"Redis has lost {len(lost)} picture jobs, such as {lost[0]}. Ask for them again."
            )
        self._heard_s[client] = now_s if look_at_all or ended else heard_s
        return [_outcome(*told) for told in ended]

    def _wait_for_answer(self, client: str, timeout_s: float) -> None:
        """Wait until something has ended, or about so long; the list of answers stays as it is."""
        answers = f"{self._link.prefix}answers:{client}"
        longest_s = min(timeout_s, _LONGEST_WAIT_S, self._link.settings.connect_timeout_s / 2)
        wait: Any = max(0.001, longest_s)  # redis-py calls it an int
        self._link.call(lambda redis: redis.blmove(answers, answers, wait, "LEFT", "RIGHT"))


def catalog_owner(catalog: str) -> str:
    """What a catalog is called among the owners who take turns; no user may be called so."""
    return f"{CATALOG_OWNER}{catalog}"


def _outcome(id: str, status: str, job: str, outcome: str, error: str, cause: str) -> PictureOutcome:
    if outcome:
        return PictureOutcome.model_validate_json(outcome)
    recipe = PictureJob.model_validate_json(job).recipe
    return PictureOutcome(id=id, recipe=recipe, error=error or status, cause=failure_cause(cause))
