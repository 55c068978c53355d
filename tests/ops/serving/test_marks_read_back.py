import pytest

from resources.local_store import LocalObjectStore
from resources.queue import TaskStatus
from tests.support.waiting import wait_until


class LosesMarks(LocalObjectStore):
    """A store that damages the implicit label of what it is given."""

    def put(self, key, data, **rest):
        return super().put(key, data.replace(b"TC260:AIGC", b"TC260:AIGX"), **rest)


@pytest.mark.parametrize(
    ("share", "store", "expected"),
    [
        (1, LosesMarks, {"marks_read_back": 2, "marks_missing": 2}),
        (1, LocalObjectStore, {"marks_read_back": 2}),
        (0, LosesMarks, {}),
    ],
)
def test_a_worker_reads_its_share_of_marks_back_and_counts_what_lost_them(shop, share, store, expected):
    marks = shop.settings.marks.model_copy(update={"read_back": share})
    shop.settings = shop.settings.model_copy(update={"marks": marks})
    tasks = [shop.submit(seed=seed) for seed in range(2)]

    shop.worker(store=store(shop.settings.store.path))

    assert [task.status for task in shop.ended(*tasks)] == [TaskStatus.SUCCESS] * 2

    def told():
        return {name: count for worker in shop.queue.workers() for name, count in worker.counters.items()}

    wait_until(lambda: told().get("tasks_success") == 2)
    assert {name: count for name, count in told().items() if name.startswith("marks_")} == expected
