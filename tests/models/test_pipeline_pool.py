import threading

import pytest

from models.errors import ModelLoadError, OutOfMemoryError
from models.pipeline_pool import PipelinePool, PoolKey, process_pool


class Model:
    """Counts how often it was released; the pool needs nothing else of a family."""

    def __init__(self, size_bytes: int = 0) -> None:
        self.releases = 0
        self.size_bytes = size_bytes

    def release(self) -> None:
        self.releases += 1


def key(name: str) -> PoolKey:
    return PoolKey(name, "eager", "cpu", "float32")


def use(pool: PipelinePool, name: str, limit: int = 2) -> Model:
    with pool.lease(key(name), Model, limit) as model:
        return model


def test_a_warm_model_is_loaded_once():
    pool = PipelinePool()

    assert use(pool, "a") is use(pool, "a")
    assert use(pool, "a") is not use(pool, "b")


def test_the_least_recently_used_model_makes_room():
    pool = PipelinePool()
    a, b = use(pool, "a"), use(pool, "b")
    use(pool, "a")

    use(pool, "c")

    assert (a.releases, b.releases) == (0, 1)
    assert use(pool, "a") is a


def test_room_is_made_before_the_next_model_is_loaded():
    pool = PipelinePool()
    a = use(pool, "a", limit=1)

    def load() -> Model:
        assert a.releases == 1
        return Model()

    with pool.lease(key("b"), load, 1):
        pass


def test_the_budget_releases_the_least_recently_used_once_a_new_models_size_is_known():
    pool = PipelinePool()

    def sized(name: str, size_bytes: int) -> Model:
        with pool.lease(key(name), lambda: Model(size_bytes), 9, 100) as model:
            return model

    a, b = sized("a", 40), sized("b", 50)
    assert pool.has_room(9, 100)
    c = sized("c", 30)

    assert (a.releases, b.releases, c.releases) == (1, 0, 0)
    # Its size is known by now, so room is made before it is loaded.
    again = sized("a", 40)
    assert (b.releases, c.releases, again.releases) == (1, 0, 0)


def test_a_model_beyond_the_budget_is_kept_alone():
    pool = PipelinePool()
    small = use(pool, "small")

    with pool.lease(key("huge"), lambda: Model(1000), 9, 100) as huge:
        assert huge.releases == 0

    assert small.releases == 1
    assert not pool.has_room(9, 100)
    assert not pool.has_room(1, None)


def test_a_model_in_use_is_never_released_for_room():
    pool = PipelinePool()
    with pool.lease(key("a"), Model, 1) as a:
        use(pool, "b", limit=1)
        assert a.releases == 0
    assert use(pool, "a", limit=1) is a


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind():
    pool = PipelinePool()

    def fail() -> Model:
        raise ModelLoadError("broken")

    with pytest.raises(ModelLoadError, match="broken"), pool.lease(key("a"), fail, 2):
        pass

    assert key("a") not in pool
    assert use(pool, "a").releases == 0


class WaitingModel(Model):
    """One whose release takes until it is let go, as one that still decodes pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_go = threading.Event(), threading.Event()

    def release(self) -> None:
        self.is_asked.set()
        assert self.may_go.wait(60)
        super().release()


def test_the_pool_answers_while_a_model_is_being_released():
    pool, slow = PipelinePool(), WaitingModel()
    with pool.lease(key("slow"), lambda: slow, 1):
        pass
    worker = threading.Thread(target=use, args=(pool, "b", 1))
    worker.start()
    assert slow.is_asked.wait(60)

    answer = threading.Thread(target=lambda: (pool.has_room(1, None), slow.may_go.set()))
    answer.start()
    answer.join(60)
    answered = not answer.is_alive()
    slow.may_go.set()
    worker.join(60)
    assert answered
    assert slow.releases == 1


def test_a_model_that_is_being_released_is_not_released_for_room_as_well():
    pool, slow = PipelinePool(), WaitingModel()
    with pool.lease(key("slow"), lambda: slow, 1):
        pass
    releaser = threading.Thread(target=pool.release, args=([key("slow")],))
    releaser.start()
    assert slow.is_asked.wait(60)

    slow.is_asked.clear()
    other = threading.Thread(target=use, args=(pool, "b", 1))
    other.start()
    other.join(60)
    assert not other.is_alive()
    assert not slow.is_asked.is_set()
    slow.may_go.set()
    releaser.join(60)

    assert slow.releases == 1
    assert key("slow") not in pool
    assert key("b") in pool


def test_a_load_without_memory_releases_the_idle_models_and_is_tried_once_more():
    pool = PipelinePool()
    a, b = use(pool, "a", limit=9), use(pool, "b", limit=9)
    tries = []

    def load() -> Model:
        tries.append((a.releases, b.releases))
        if not b.releases:
            raise OutOfMemoryError("no room")
        return Model()

    with pool.lease(key("busy"), Model, 9) as busy, pool.lease(key("c"), load, 9):
        assert tries == [(0, 0), (1, 1)]
        assert busy.releases == 0
    assert key("a") not in pool


@pytest.mark.parametrize(("idle", "tries"), [([], 1), (["a"], 2)])
def test_a_load_that_never_finds_memory_fails_for_that(idle, tries):
    pool, loads = PipelinePool(), []
    for name in idle:
        use(pool, name)

    def load() -> Model:
        loads.append(1)
        raise OutOfMemoryError("no room")

    with pytest.raises(OutOfMemoryError, match="no room"), pool.lease(key("b"), load, 9):
        pass

    assert len(loads) == tries
    assert key("b") not in pool


def test_releasing_drops_the_model_and_the_next_lease_loads_it_again():
    pool = PipelinePool()
    a = use(pool, "a")

    pool.release([key("a"), key("never seen")])

    assert a.releases == 1
    assert key("a") not in pool
    assert use(pool, "a") is not a


def test_a_model_serves_one_thread_at_a_time_and_is_loaded_once_for_many():
    pool, loads, inside, most = PipelinePool(), [], [], []

    def load() -> Model:
        loads.append(1)
        return Model()

    def work() -> None:
        for _ in range(50):
            with pool.lease(key("a"), load, 1):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(loads), max(most), len(most)) == (1, 1, 400)


def test_releasing_waits_for_whoever_uses_the_model():
    pool = PipelinePool()
    entered, leave = threading.Event(), threading.Event()
    models: list[Model] = []

    def work() -> None:
        with pool.lease(key("a"), Model, 1) as model:
            models.append(model)
            entered.set()
            leave.wait(60)
            assert model.releases == 0

    worker = threading.Thread(target=work)
    worker.start()
    entered.wait(60)
    releaser = threading.Thread(target=pool.release, args=([key("a")],))
    releaser.start()
    releaser.join(0.1)
    assert releaser.is_alive()
    leave.set()
    worker.join(60)
    releaser.join(60)

    assert models[0].releases == 1
    assert key("a") not in pool


def test_the_process_has_one_pool():
    assert process_pool() is process_pool()
