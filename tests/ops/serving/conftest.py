"""A serving worker over a real Redis, a local store and a small random model."""

import threading
import time

import pytest

from configs.settings import load_settings
from models.admission import parse_request
from models.engine import BatchingEngine
from models.registry import open_registry
from ops.serving import ServingWorker, WorkerDependencies
from resources.local_store import LocalObjectStore
from resources.queue import NewTask, new_task_id, open_queue
from tests.support.random_model import write_random_model

DEADLINE_S = 60


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """The settings that make a random model the default one."""
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def random_engine(random_model):
    """An engine that stays warm for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in random_model.items():
            patch.setenv(name, value)
        settings = load_settings()
    registry = open_registry(settings)
    return registry, BatchingEngine(registry, settings.engine)


class Shop:
    """A queue, a store and workers over them."""

    def __init__(self, settings, registry, engine):
        self.settings, self.registry, self.engine = settings, registry, engine
        self.queue = open_queue(settings)
        self.store = LocalObjectStore(settings.store.path)
        self.workers = []

    def submit(self, text="a red mug", owner="anna", **fields):
        """Submit a request and return its task's id; `params` may be given by name."""
        task_id = fields.pop("task_id", None) or new_task_id()
        outer = ("image_url", "mask_url", "control_image_url", "priority")
        top = {name: fields.pop(name) for name in outer if name in fields}
        request = parse_request({"text": text, "params": fields, **top}, self.registry)
        return self.queue.submit(NewTask(id=task_id, request=request), owner=owner).id

    def worker(self, *, engine=None, store=None, run_id="", **serving):
        """A worker that has started; `serving` are settings."""
        changed = {"idle_exit_s": 3600.0, "handover_s": 30.0, **serving}
        settings = self.settings.model_copy(update={"serving": self.settings.serving.model_copy(update=changed)})
        place = WorkerDependencies(
            settings, self.registry, engine or self.engine, store or self.store, self.queue, run_id
        )
        worker = ServingWorker(place)
        self.workers.append(worker)
        worker.start()
        return worker

    def ended(self, *task_ids):
        """The tasks, once all of them have ended."""
        return self.until(lambda: [task for task in self.queue.tasks(task_ids) if task.status.ended], len(task_ids))

    def until(self, look, count=1):
        """What `look` sees, once it is so many things."""
        deadline = time.monotonic() + DEADLINE_S
        while len(seen := look()) < count:
            assert time.monotonic() < deadline, f"{seen} after {DEADLINE_S} s"
            time.sleep(0.005)
        return seen

    def keys(self):
        """Every object in the store, but for the records of marks."""
        return sorted(one.key for one in self.store.list() if not one.key.startswith("marks/"))

    def close(self):
        """End what was started."""
        for worker in self.workers:
            worker.stop(0.0)
            worker.wait(DEADLINE_S)
        self.queue.close()


@pytest.fixture
def lease_s():
    """Longer than a busy machine holds up a heartbeat; a test that waits for its end has one of its own."""
    return 60


@pytest.fixture
def shop(tmp_path, monkeypatch, random_model, random_engine, lease_s):
    for name, value in random_model.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_QUEUE__FSYNC", "everysec")
    monkeypatch.setenv("IMAGEGENX_QUEUE__LEASE_S", str(lease_s))
    monkeypatch.setenv("IMAGEGENX_PICTURES__THUMBNAIL_PX", "32")
    shop = Shop(load_settings(), *random_engine)
    yield shop
    shop.close()


class Gate:
    """An engine that holds its pictures back until it is opened."""

    def __init__(self, engine):
        self._engine = engine
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.submitted = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def submit(self, job, listener, priority):
        """Let a job in, and hold its result back."""
        self.submitted.append(job.id)
        return self._engine.submit(job, _Held(self, listener), priority)


class _Held:
    def __init__(self, gate, listener):
        self._gate, self._listener = gate, listener

    def stepped(self, job_id, done, total):
        self._listener.stepped(job_id, done, total)

    def ended(self, result):
        threading.Thread(target=self._wait_and_tell, args=(result,), daemon=True).start()

    def _wait_and_tell(self, result):
        self._gate.entered.release()
        self._gate.opened.wait(DEADLINE_S)
        self._listener.ended(result)


@pytest.fixture
def gate(random_engine):
    gate = Gate(random_engine[1])
    yield gate
    gate.opened.set()
