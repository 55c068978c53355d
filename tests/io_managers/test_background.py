import threading
import time

import pytest

from io_managers.background import BackgroundPool
from tests.support.waiting import wait_until


def test_results_come_back_oldest_first():
    with BackgroundPool(workers=3, queue=2) as pool:
        results = [result for number in range(20) for result in pool.submit(lambda n=number: n)]
        results += pool.drain()

    assert results == list(range(20))


def test_submit_waits_while_the_queue_is_full():
    release = threading.Event()
    submitted = []

    def feed(pool):
        for number in range(10):
            pool.submit(release.wait)
            submitted.append(number)

    with BackgroundPool(workers=2, queue=3) as pool:
        feeder = threading.Thread(target=feed, args=(pool,))
        feeder.start()
        wait_until(lambda: len(submitted) == 5)
        time.sleep(0.2)
        assert len(submitted) == 5
        release.set()
        feeder.join()


def test_an_error_comes_back_at_the_next_submit_even_while_older_tasks_run():
    release = threading.Event()

    def fail():
        raise OSError("disk full")

    def submit_for_ever(pool):
        pool.submit(fail)
        while True:
            pool.submit(lambda: time.sleep(0.01))

    with BackgroundPool(workers=2, queue=10) as pool:
        pool.submit(lambda: release.wait(60))
        with pytest.raises(OSError, match="disk full"):
            submit_for_ever(pool)
        release.set()


def test_leaving_early_drops_tasks_that_have_not_begun():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.05)

    with BackgroundPool(workers=1, queue=50) as pool:
        for number in range(50):
            pool.submit(lambda n=number: work(n))

    assert len(begun) < 10
