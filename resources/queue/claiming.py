"""The consumer's side of the queue: claim, keep, finish, give back."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foundation.errors import FailureCause
from models.picture_job import PictureOutcome
from resources.queue.link import RedisLink
from resources.queue.task import TaskResult, TaskStatus, pairs, read_task
from resources.queue.waiting import Bells, wait_for_bells
from resources.queue.worker import Claim, Heard, Renewal, WorkerState


class Claiming:
    """The part of the queue that serving runs use."""

    _link: RedisLink
    _unanswered: dict[str, str]

    def claim(
        self,
        worker: str,
        count: int,
        block_s: float = 0,
        *,
        bulk: int | None = None,
        preparing: Mapping[str, int] | None = None,
        preparing_each: int = 1_000_000,
    ) -> list[Claim]:
        """Up to `count` tasks to do now, after waiting up to `block_s` for the first; often fewer.

        At most `bulk` of them are bulk requests and picture jobs (None: all may be). Given first is what another
        worker gave back, then interactive before bulk tasks (every `bulk_every`-th is bulk while both wait), owners in
        turn. Who has `preparing_each` tasks with input pictures at this worker, those of `preparing` and of this claim
        together, gets no more. What a dead worker had is given to a worker that has nothing else and
        gets no more until that is done: one task at first, then twice as many if that was quick, each task's last try
        alone. While such tasks wait, nobody gets fresh ones, except between two such groups if those have waited for a
        third of a lease: each finishes what it has. After `max_deliveries` deliveries that ended their workers a task
        fails and is kept in the dead-letter stream.

        A claim whose answer was lost (QueueUnavailableError) is given again to the next call for the same worker.
        """
        deadline = time.monotonic() + block_s
        most_bulk = count if bulk is None else bulk
        asked = {"count": count, "bulk": most_bulk, "preparing": preparing or {}, "preparing_each": preparing_each}
        while True:
            claims, bells, lease_ends_s = self._claim_now(worker, asked)
            left_s = deadline - time.monotonic()
            if claims or left_s <= 0:
                return claims
            wait_for_bells(self._link, bells, left_s, lease_ends_s, with_bulk=bulk != 0)

    def renew(self, state: WorkerState, claims: Sequence[Claim]) -> Renewal:
        """A heartbeat: the worker lives for another `lease_s`, and so do its claims. Due every `lease_s` / 3.

        `lost` are claims that another worker has by now, or whose task has ended: drop them. `cancelled` are those
        to be stopped; call `cancelled` for each.
        """
        lost, cancelled = self._link.run(
            "renew",
            {**self._lease(state.id), "state": state.model_dump_json(), "claims": _tokens(claims)},
        )
        return Renewal(frozenset(lost), frozenset(cancelled))

    def is_wanted(self, claim: Claim) -> bool:
        """Whether a claim is still its worker's and not cancelled: what the next heartbeat would tell."""
        key = f"{self._link.prefix}task:{claim.id}"
        status, token, cancel = self._link.call(lambda client: client.hmget(key, ["status", "token", "cancel"]))
        return status == TaskStatus.PROCESSING and token == str(claim.token) and not cancel

    def progress(self, claim: Claim, percent: int) -> None:
        """Record that `percent` of a claimed task is done; nothing happens if it is the worker's no more, or less."""
        self.progress_all([(claim, percent, 0.0)])

    def progress_all(self, told: Iterable[tuple[Claim, int, float]]) -> Heard:
        """`progress` of many claims, each with the GPU seconds spent on it so far, in one round trip."""
        steps = [(one.id, str(one.token), min(max(percent, 0), 100), _ms(gpu_s)) for one, percent, gpu_s in told]
        return Heard(*map(frozenset, self._link.run("progress", {"steps": steps}))) if steps else Heard()

    def succeed(self, claim: Claim, result: TaskResult, gpu_s: float = 0.0) -> bool:
        """End a task as done, its pictures being stored. False if it ended already or another worker has it.

        Args:
            gpu_s: spent on it by this worker.
        """
        return self._finish(claim, TaskStatus.SUCCESS, gpu_s, result=result.model_dump_json())

    def fail(self, claim: Claim, error: str, cause: FailureCause = FailureCause.OTHER, gpu_s: float = 0.0) -> bool:
        """End a task as failed; `error` tells who sent it why, `cause` the metrics. False as of `succeed`."""
        return self._finish(claim, TaskStatus.FAILED, gpu_s, error=error, cause=cause.value)

    def answer(self, claim: Claim, outcome: PictureOutcome, gpu_s: float = 0.0) -> bool:
        """End a picture job; everyone who waits for it is told of its outcome. False as of `succeed`."""
        status = TaskStatus.FAILED if outcome.error else TaskStatus.SUCCESS
        cause = outcome.cause or FailureCause.OTHER
        result = outcome.model_dump_json()
        return self._finish(claim, status, gpu_s, result=result, error=outcome.error, cause=cause.value)

    def cancelled(self, claim: Claim, gpu_s: float = 0.0) -> bool:
        """End a task as cancelled, once its work has stopped. False as of `succeed`."""
        return self._finish(claim, TaskStatus.CANCELLED, gpu_s)

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Let the next worker have these at once; they count as not delivered. Their status stays `processing`."""
        if claims:
            self._link.run("give_back", {"claims": _tokens(claims)})

    def worker_ended(self, worker: str) -> int:
        """Let others take over at once what a worker has that is known to be dead, and forget the worker.

        For whoever learns of the death before the leases end, like a run failure sensor; also the last call of a
        worker that ends in order, after `give_back`. Returns how many claims it still had: they count as delivered.
        """
        return int(self._link.run("worker_ended", self._lease(worker)))

    def _claim_now(self, worker: str, asked: Mapping[str, Any]) -> tuple[list[Claim], Bells, float | None]:
        nonce = self._unanswered.setdefault(worker, secrets.token_hex(8))
        arguments = {**asked, "bulk_every": self._link.settings.bulk_every, "nonce": nonce, **self._lease(worker)}
        given, bells, lease_ends_ms = self._link.run("claim", arguments)
        self._unanswered.pop(worker, None)
        ends_s = int(lease_ends_ms) / 1000
        claims = [_claim(worker, id, pairs(flat)) for id, flat in given]
        return claims, Bells(*bells), ends_s if ends_s >= 0 else None

    def _finish(
        self, claim: Claim, status: TaskStatus, gpu_s: float, *, result: str = "", error: str = "", cause: str = ""
    ) -> bool:
        arguments = {
            "id": claim.id,
            "token": str(claim.token),
            "status": status.value,
            "result": result,
            "error": error,
            "cause": cause,
            "gpu_ms": _ms(gpu_s),
        }
        return bool(self._link.run("finish", arguments))

    def _lease(self, worker: str) -> dict[str, Any]:
        settings = self._link.settings
        return {
            "worker": worker,
            "lease_ms": round(settings.lease_s * 1000),
            "max_deliveries": settings.max_deliveries,
        }


def _claim(worker: str, task_id: str, fields: dict[str, str]) -> Claim:
    task = read_task(task_id, fields)
    return Claim(task, worker, int(fields["token"]), int(fields["deliveries"]), is_job="job" in fields)


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _tokens(claims: Iterable[Claim]) -> list[tuple[str, str]]:
    return [(claim.id, str(claim.token)) for claim in claims]
