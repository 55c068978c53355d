"""What tasks cost, over workers that die, cancels and ledgers that are written twice."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from foundation.errors import FailureCause
from models.request import GenerationParams, GenerationRequest
from resources.local_store import LocalObjectStore
from resources.queue import DAY_S, NewTask, SpendingLimit, TaskPicture, TaskResult, TaskStatus, new_task_id
from resources.usage_ledger import UsageLedger

RECIPE = '{"model": "tiny", "release": "abc123", "text": "a"}'


def submit(queue, owner="ada", pictures=1, limits=(), **fields):
    request = GenerationRequest(text="a mug", model_type="tiny", params=GenerationParams(num_images=pictures), **fields)
    return queue.submit(NewTask(id=new_task_id(), request=request), owner=owner, limits=limits)


def result(pictures=1, size_bytes=1000):
    one = TaskPicture(
        original_key="o",
        thumb_key="t",
        width_px=8,
        height_px=8,
        format="png",
        size_bytes=size_bytes,
        seed=1,
        recipe=RECIPE,
    )
    return TaskResult(pictures=(one,) * pictures)


@pytest.fixture
def ledger(queue, tmp_path):
    return UsageLedger(LocalObjectStore(tmp_path), queue)


def killed(ids):
    raise KeyboardInterrupt


def entries(ledger):
    today = datetime.now(UTC).date()
    return list(ledger.entries(today, today))


def test_a_task_is_one_entry_with_what_it_was_and_cost(queue, ledger):
    task = submit(queue, pictures=2)
    (claim,) = queue.claim("w", 1)
    queue.succeed(claim, result(2), gpu_s=1.25)
    assert queue.succeed(claim, result(2), gpu_s=1.25), "told twice, since the answer was lost"
    assert ledger.collect() == 1
    (entry,) = entries(ledger)
    seen = entry.model_dump(exclude={"id"})
    assert seen == {
        **{"task": task.id, "owner": "ada", "model": "tiny", "release": "abc123", "status": "success"},
        **{"pictures": 2, "bytes": 2000, "gpu_ms": 1250},
    }
    assert queue.usage_entries(10) == []


def test_the_ledger_agrees_with_the_workers_after_kills_and_cancels(queue, ledger, monkeypatch):
    """200 requests; a third of the claims die after some steps, and some are cancelled or fail."""
    chance, spent_s, made = random.Random(5), 0.0, 0
    for number in range(200):
        submit(queue, owner=f"user-{number % 3}", pictures=1 + number % 2)
    alive = 0
    while claims := queue.claim(f"w-{alive}", 8):
        dies = chance.random() < 1 / 3
        for claim in claims:
            gpu_s = round(chance.uniform(0.1, 3), 3)
            queue.progress_all([(claim, 40, gpu_s / 2)])
            spent_s += gpu_s / 2
            if dies:
                continue
            spent_s += gpu_s / 2
            match chance.choice(("success", "success", "cancelled", "failed")):
                case "success":
                    count = claim.task.request["params"]["num_images"]
                    made += count
                    queue.succeed(claim, result(count), gpu_s)
                case "cancelled":
                    queue.cancel(claim.id)
                    queue.cancelled(claim, gpu_s)
                case _:
                    queue.fail(claim, "no", FailureCause.ENGINE, gpu_s)
        if dies:
            queue.worker_ended(f"w-{alive}")
            alive += 1
        if chance.random() < 0.2:
            with monkeypatch.context() as patch:  # killed between the store and the queue
                patch.setattr(queue, "forget_entries", killed)
                with pytest.raises(KeyboardInterrupt):
                    ledger.collect()
    ledger.collect()
    found = entries(ledger)
    assert len({entry.task for entry in found}) == len(found) == 200
    assert sum(entry.gpu_ms for entry in found) / 1000 == pytest.approx(spent_s, rel=0.01)
    assert sum(entry.pictures for entry in found) == made
    today = int(datetime.now(UTC).timestamp() // DAY_S)
    usages = [queue.used(f"user-{n}") for n in range(3)]
    assert sum(usage.within(today - 1, today + 1).gpu_s for usage in usages) == pytest.approx(spent_s, rel=0.01)
    assert [usage.open for usage in usages] == [0, 0, 0]


def test_a_redis_that_lost_everything_learns_what_was_used(queue, ledger):
    submit(queue)
    queue.succeed(queue.claim("w", 1)[0], result(), gpu_s=2)
    ledger.collect()
    before = queue.used("ada").days
    client = queue._link.client
    client.delete(*client.scan_iter(f"{queue._link.prefix}*"))
    assert queue.restore_usage(entries(ledger))
    assert queue.used("ada").days == before
    assert not queue.restore_usage(entries(ledger)), "once"


def test_what_waits_is_stopped_once_the_gpu_time_is_spent(queue):
    today = int(datetime.now(UTC).timestamp() // DAY_S)
    limits = [SpendingLimit("gpu_s_per_day", "gpu_ms", today, today + 2, 1500, 10)]
    tasks = [submit(queue, limits=limits) for _ in range(5)]
    other = submit(queue, owner="eve")
    claims = queue.claim("w", 3)
    for claim in claims:
        queue.succeed(claim, result(), gpu_s=1)
    left = [queue.task(task.id) for task in tasks if task.id not in {claim.id for claim in claims}]
    assert {(task.status, task.cause) for task in left if task} == {(TaskStatus.FAILED, FailureCause.BUDGET)}
    assert queue.task(other.id).status is not TaskStatus.FAILED


def gpu_limit(most_ms, each_ms):
    """A budget of today and tomorrow, lest midnight come in between."""
    today = int(datetime.now(UTC).timestamp() // DAY_S)
    return [SpendingLimit("gpu_s_per_day", "gpu_ms", today, today + 2, most_ms, each_ms)]


def paint_one(queue, gpu_s, limits):
    """What a picture of ada's takes is known from now on."""
    submit(queue, limits=limits)
    queue.succeed(queue.claim("w", 1)[0], result(), gpu_s=gpu_s)


@pytest.mark.parametrize("way", ["succeed", "fail", "cancelled", "give_back", "worker_ended"])
def test_what_is_under_way_keeps_its_share_of_a_budget_until_it_ends(queue, way):
    limits = gpu_limit(1700, 10)
    paint_one(queue, 0.4, limits)
    tasks = [submit(queue, limits=limits) for _ in range(4)]
    other = submit(queue, owner="joe")
    claims = queue.claim("w", 8)
    assert {claim.id for claim in claims} == {*(task.id for task in tasks[:3]), other.id}
    assert queue.claim("v", 8) == [], "three pictures may take 1,200 of the 1,300 ms that are left"
    claim = next(claim for claim in claims if claim.id == tasks[0].id)
    match way:
        case "succeed":
            queue.succeed(claim, result(), gpu_s=0.1)
        case "fail":
            queue.fail(claim, "no", gpu_s=0.1)
        case "cancelled":
            queue.cancelled(claim, gpu_s=0.1)
        case "give_back":
            queue.give_back([claim])
        case "worker_ended":
            queue.worker_ended("w")
    assert len(queue.claim("v", 8)) == 1


def test_a_worker_that_waits_hears_when_a_budget_has_room_again(open_queue):
    queue = open_queue(lease_s=600)
    paint_one(queue, 0.9, gpu_limit(2000, 10))
    for _ in range(2):
        submit(queue, limits=gpu_limit(2000, 10))
    (claim,) = queue.claim("w", 8)
    assert queue.claim("v", 8) == []
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.claim, "v", 8, 120)
        began_s = time.monotonic()
        queue.succeed(claim, result(), gpu_s=0.01)
        assert len(waiting.result()) == 1
    assert time.monotonic() - began_s < 110, "not at the end of its wait"


def test_what_dead_workers_spent_counts_and_ends_what_they_had(queue):
    task = submit(queue, limits=gpu_limit(1000, 10))
    for worker in ("u", "v"):
        (claim,) = queue.claim(worker, 8)
        queue.progress_all([(claim, 10, 0.6)])
        queue.worker_ended(worker)
    waiting = submit(queue, limits=gpu_limit(1000, 10))
    assert queue.claim("w", 8) == []
    ended = [queue.task(one.id) for one in (task, waiting)]
    assert [(one.status, one.cause) for one in ended] == [(TaskStatus.FAILED, FailureCause.BUDGET)] * 2
    assert queue.used("ada").open == 0


def test_a_budget_of_a_time_that_is_over_holds_nothing_back(queue):
    today = int(datetime.now(UTC).timestamp() // DAY_S)
    limits = [SpendingLimit("gpu_s_per_day", "gpu_ms", today - 1, today, 100, 30)]
    paint_one(queue, 0.09, limits)
    for _ in range(3):
        submit(queue, limits=limits)
    assert len(queue.claim("w", 8)) == 3
