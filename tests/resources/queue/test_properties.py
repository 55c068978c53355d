"""Any interleaving of what clients, workers and crashes do leaves every accepted task in one end state.

And whoever waits for a picture job is told of its end, once nobody is in the way.
"""

import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis import Redis

from configs.queue_settings import QueueSettings
from resources.queue import RequestQueue, TaskStatus, catalog_owner
from resources.queue.link import RedisLink
from tests.resources.queue.conftest import job, new_task, outcome_of, result, state

WORKERS = st.sampled_from(["w1", "w2", "w3"])
CLIENTS = st.sampled_from(["c1", "c2"])
PICTURES = st.sets(st.sampled_from(["cup", "jug", "pan"]), min_size=1)
MAX_DELIVERIES = 3


class QueueLife(RuleBasedStateMachine):
    """Clients submit and cancel, workers claim, keep, finish, give back and die, in any order."""

    server: str

    @initialize()
    def open(self):
        self.namespace = f"test-{uuid.uuid4().hex}"
        given = {"url": self.server, "namespace": self.namespace, "max_deliveries": MAX_DELIVERIES}
        self.queue = RequestQueue(RedisLink(QueueSettings.model_validate(given)))
        self.client = Redis.from_url(self.server, decode_responses=True, protocol=2)
        self.accepted = []
        self.held = []
        self.ends = {}
        self.newest = {}
        self.wanted = {"c1": set(), "c2": set()}

    @rule(client=CLIENTS, pictures=PICTURES, anew=st.booleans())
    def ensure(self, client, pictures, anew):
        jobs = [job(picture) for picture in sorted(pictures)]
        self.queue.ensure(jobs, owner=catalog_owner(client), client=client, anew=anew)
        self.wanted[client] |= {job.id for job in jobs}

    @rule(client=CLIENTS)
    def collect(self, client):
        ended = {outcome.id for outcome in self.queue.outcomes(client)}
        assert ended <= self.wanted[client]
        self.queue.forget(client, ended)
        self.wanted[client] -= ended

    @rule(client=CLIENTS)
    def withdraw(self, client):
        self.queue.withdraw(client)
        self.wanted[client].clear()

    @rule(owner=st.sampled_from(["ann", "bob"]), priority=st.sampled_from(["interactive", "bulk"]))
    def submit(self, owner, priority):
        task = self.queue.submit(new_task(priority=priority, callback_url="https://c.example/"), owner=owner)
        self.accepted.append(task.id)

    @rule(owner=st.sampled_from(["ann", "bob"]), count=st.integers(1, 3))
    def submit_batch(self, owner, count):
        tasks = [new_task() for _ in range(count)]
        self.accepted += self.queue.submit_batch(tasks, owner=owner, callback_url=None).task_ids

    @rule(worker=WORKERS, count=st.integers(1, 4))
    def claim(self, worker, count):
        claims = self.queue.claim(worker, count)
        assert len({claim.id for claim in claims}) == len(claims) <= count
        assert not {claim.id for claim in claims if not claim.is_job} & set(self.ends)
        assert all(claim.attempt <= MAX_DELIVERIES for claim in claims)
        assert len(claims) == 1 or all(claim.attempt < MAX_DELIVERIES for claim in claims), "a last try in company"
        self.held += claims
        self.newest.update((claim.id, claim.token) for claim in claims)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "fail", "cancelled"]))
    def finish(self, data, how):
        self.end(data.draw(st.sampled_from(self.held)), how)

    def end(self, claim, how):
        if claim.is_job:
            self.end_job(claim, how)
            return
        more = {"succeed": [result(claim.id)], "fail": ["no"], "cancelled": []}[how]
        status = {"succeed": TaskStatus.SUCCESS, "fail": TaskStatus.FAILED, "cancelled": TaskStatus.CANCELLED}[how]
        if getattr(self.queue, how)(claim, *more):
            assert claim.token == self.newest[claim.id], "a claim that was taken over ended its task"
            assert self.ends.setdefault(claim.id, (claim.token, status)) == (claim.token, status)
        self.progress_of(claim)

    def end_job(self, claim, how):
        if how == "cancelled":
            self.queue.cancelled(claim)
        else:
            self.queue.answer(claim, outcome_of(claim, error="no" if how == "fail" else ""))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), heir=WORKERS)
    def hang(self, data, heir):
        """A worker's leases end, another takes over what it may, and then the first one goes on."""
        late = data.draw(st.sampled_from(self.held))
        self.queue.worker_ended(late.worker)
        self.claim(heir, 4)
        self.end(late, "succeed")

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def progress(self, data):
        self.progress_of(data.draw(st.sampled_from(self.held)))

    @rule(worker=WORKERS)
    def renew(self, worker):
        mine = [claim for claim in self.held if claim.worker == worker]
        renewal = self.queue.renew(state(worker), mine)
        self.held = [claim for claim in self.held if claim.worker != worker or claim.id not in renewal.lost]

    @rule(worker=WORKERS)
    def give_back(self, worker):
        self.queue.give_back([claim for claim in self.held if claim.worker == worker])

    @rule(worker=WORKERS, remembers=st.booleans())
    def die(self, worker, remembers):
        """Its leases end, as if their time were over; a worker that only hung still believes in its claims."""
        self.queue.worker_ended(worker)
        if not remembers:
            self.held = [claim for claim in self.held if claim.worker != worker]

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def cancel(self, data):
        self.queue.cancel(data.draw(st.sampled_from(self.accepted)))

    def progress_of(self, claim):
        if claim.is_job:
            return
        before = self.queue.task(claim.id)
        self.queue.progress(claim, 50)
        after = self.queue.task(claim.id)
        assert after.status == before.status
        assert after.progress >= before.progress

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        try:
            self.finish_all()
            self.check_ends()
        finally:
            for key in self.client.scan_iter(f"{self.namespace}:*", count=10_000):
                self.client.delete(key)
            self.client.close()
            self.queue.close()

    def finish_all(self):
        """All workers die; one that lives ends what is left."""
        for worker in ("w1", "w2", "w3"):
            self.queue.worker_ended(worker)
        while claims := self.queue.claim("last", 2):
            for claim in claims:
                if claim.is_job:
                    assert self.queue.answer(claim, outcome_of(claim))
                else:
                    assert self.queue.succeed(claim, result(claim.id))
                    self.ends[claim.id] = (claim.token, TaskStatus.SUCCESS)

    def check_ends(self):
        tasks = dict(zip(self.accepted, self.queue.tasks(self.accepted), strict=True))
        assert all(task.status.ended for task in tasks.values())
        for id, (_, status) in self.ends.items():
            assert tasks[id].status == status
        for client, ids in self.wanted.items():
            assert {outcome.id for outcome in self.queue.outcomes(client, 0)} >= ids
            self.queue.withdraw(client)
        depth = self.queue.depth()
        assert (depth.backlog, depth.processing) == (0, 0)
        left = {key.split(":")[1] for key in self.client.scan_iter(f"{self.namespace}:*", count=10_000)}
        assert not left & {
            "lane",
            "streams",
            "leases",
            "held",
            "alone",
            "waiting",
            "owners",
            "ring",
            "waiters",
            "wanted",
            "answers",
        }
        called = [callback.task_id for callback in self.queue.take_due_callbacks("d", 1000, 60)]
        assert sorted(called) == sorted(id for id, task in tasks.items() if task.callback_url)


@pytest.mark.parametrize("examples", [25])
def test_every_accepted_task_ends_once_whatever_happens(redis, examples):
    class Life(QueueLife):
        server = redis.url

    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
