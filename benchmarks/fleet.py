"""The fleet: catalogs as clients of many workers, through the real queue.

* `large` has one catalog of 100,000 rows made by 64 stand-in workers, threads that claim, sleep and answer as workers
  do: what the client holds in memory, what Redis holds, how busy the workers are, and what a picture costs the queue.
* `hosts` has a catalog of 200 rows made by one worker process and by four, and again while half of them and the run of
  the catalog are killed.
* `interactive` compares the wait for single requests with and without a catalog that keeps all workers busy.
* `thousand` carries these costs to 1,000 GPUs in a simulation, and says what gives first.
"""

import heapq
import json
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import psutil

from benchmarks.fleet_hosts import Fleet, told_by
from benchmarks.processes import wait_for
from benchmarks.stand_in import MODEL
from configs.queue_settings import QueueSettings
from configs.settings import Settings
from io_managers.image_set import ManifestRow, Status, picture_key
from io_managers.manifest_file import ManifestFile
from models.picture_job import PictureJob, PictureOutcome
from models.recipe import Recipe
from models.request import GenerationRequest, Mode, Sampler
from ops.making.fleet import SHORTEST_WINDOW, WINDOW_BATCHES, FleetMaker
from ops.making.maker import Wanted, made_rows
from resources.queue import Claim, NewTask, RequestQueue, WorkerState, new_task_id, open_queue

ROWS, WORKERS, PICTURE_S, BATCH = 100_000, 64, 0.25, 8
_CLAIMED_AHEAD = BATCH
_MB = 1 << 20
_PATIENCE_S = 300.0

LIMITS = {
    "four workers, time of one": 0.35,
    "pictures stored twice": 0,
    "killed half-way: pictures stored twice": 0,
    "killed half-way: pictures missing": 0,
    "interactive p95 beside a catalog, of the quiet one": 2,
    "client: growth of memory from a tenth of the rows on, MB": 20,
    "workers: idle, %": 5,
    "pictures made twice": 0,
    "pictures missing": 0,
    "Redis: most jobs held, of the window": 1.05,
}


def large(rows: int = ROWS, workers: int = WORKERS, picture_s: float = PICTURE_S) -> dict[str, float]:
    """Figures of one large catalog on many workers."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(folder)
        queue = open_queue(settings)
        queue.check()
        crew = [StandInWorker(settings, f"w{number}", picture_s) for number in range(workers)]
        watch = _Watch(queue)
        try:
            client = _client(folder, rows, watch)
            return _figures(crew, watch, client, rows, picture_s)
        finally:
            for worker in crew:
                worker.end()
            queue.close()


def _settings(folder: str) -> Settings:
    return Settings(home=Path(folder), queue=QueueSettings(path=Path(folder) / "redis", fsync="everysec"))


class StandInWorker:
    """A worker of one thread, whose GPU paints one picture after the other while it claims and answers."""

    def __init__(self, settings: Settings, name: str, picture_s: float) -> None:
        self.made: Counter[str] = Counter()
        self.first_s = self.last_s = 0.0
        self.queue = open_queue(settings)
        self._state = WorkerState(id=name, started_at_s=time.time())
        self._renewed_s = float("-inf")
        self._lease_s = settings.queue.lease_s
        self._picture_s = picture_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self) -> None:
        """Claim no more."""
        self._ending.set()
        self._thread.join()
        self.queue.close()

    def _work(self) -> None:
        painting: deque[tuple[float, Claim]] = deque()
        free_at_s = 0.0
        while not self._ending.is_set():
            self._renew(claim for _, claim in painting)
            if len(painting) <= _CLAIMED_AHEAD:
                for claim in self.queue.claim(self._state.id, BATCH, 0.0 if painting else 0.2):
                    free_at_s = max(free_at_s, time.monotonic()) + self._picture_s
                    self.first_s = self.first_s or free_at_s - self._picture_s
                    painting.append((free_at_s, claim))
            if painting:
                time.sleep(max(0.0, painting[0][0] - time.monotonic()))
            while painting and painting[0][0] <= time.monotonic():
                self.last_s, claim = painting.popleft()
                self._answer(claim)

    def _answer(self, claim: Claim) -> None:
        job = PictureJob.model_validate(claim.task.request)
        outcome = PictureOutcome(
            id=job.id,
            recipe=job.recipe,
            key=picture_key(job.recipe, job.format),
            digest="0" * 64,
            size_bytes=40_000,
            width_px=512,
            height_px=512,
            fingerprint="0" * 32,
        )
        if self.queue.answer(claim, outcome):
            self.made[job.id] += 1

    def _renew(self, claims: Iterator[Claim]) -> None:
        if time.monotonic() - self._renewed_s > self._lease_s / 3:
            self.queue.renew(self._state, list(claims))
            self._renewed_s = time.monotonic()


class _Watch:
    """What Redis holds, looked up while it works, and what it has done."""

    def __init__(self, queue: RequestQueue) -> None:
        self.most_jobs = 0
        self.most_bytes = 0
        self._redis: Any = queue._link.client
        self._prefix = queue._link.prefix
        self._before = self._total()

    def look(self) -> None:
        """Remember the most that was ever seen."""
        held = self._redis.zcard(f"{self._prefix}waiting:jobs") + self._redis.zcard(f"{self._prefix}leases")
        self.most_jobs = max(self.most_jobs, held)
        self.most_bytes = max(self.most_bytes, self._redis.info("memory")["used_memory"])

    def spent(self) -> tuple[float, float]:
        """Calls, and seconds of a processor, that Redis has spent since the beginning."""
        calls, cpu_s = self._total()
        return calls - self._before[0], cpu_s - self._before[1]

    def keys(self) -> int:
        """Keys of jobs and clients that are left."""
        kinds = ("task:*", "waiters:*", "wanted:*", "answers:*")
        return sum(len(self._redis.keys(f"{self._prefix}{kind}")) for kind in kinds)

    def _total(self) -> tuple[float, float]:
        """Calls that the queue makes; what its scripts call is not counted again."""
        stats, cpu = self._redis.info("commandstats"), self._redis.info("cpu")
        calls = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "blmove", "xread"))
        return calls, cpu["used_cpu_user"] + cpu["used_cpu_sys"]


def _client(folder: str, rows: int, watch: _Watch) -> dict[str, float]:
    """The client in a process of its own, watched while it works."""
    command = [sys.executable, "-m", "benchmarks.fleet", folder, str(rows)]
    with Popen(command, stdout=PIPE, text=True) as process:
        while process.poll() is None:
            watch.look()
            time.sleep(0.25)
        assert process.stdout
        told: dict[str, float] = json.loads(process.stdout.read().splitlines()[-1])
    return told


def _main(folder: str, rows: int) -> None:
    """The client: asks for pictures and writes their manifest as a catalog run does; figures on standard output."""
    settings = _settings(folder)
    queue, own = open_queue(settings), psutil.Process()
    tenth_bytes = 0
    maker = FleetMaker(queue, "large", settings)
    statuses: Counter[str] = Counter()
    manifest = ManifestFile([f"r{number}" for number in range(rows)])
    for done, row in enumerate(made_rows(map(_wanted, range(rows)), maker), 1):
        statuses.update(placed.status for placed in manifest.add(row))
        if done == rows // 10:
            tenth_bytes = own.memory_info().rss
    size_bytes = len(manifest.data())
    queue.close()
    told = {
        "cpu_s": sum(own.cpu_times()[:2]),
        "growth_mb": (own.memory_info().rss - tenth_bytes) / _MB,
        "rss_mb": own.memory_info().rss / _MB,
        "made": statuses[Status.MADE],
        "manifest_mb": size_bytes / _MB,
    }
    sys.stdout.write(json.dumps(told) + "\n")


def _wanted(number: int) -> Wanted:
    return Wanted(ManifestRow(f"r{number}", Status.MADE), PictureJob(recipe=_recipe(number), format="webp", quality=95))


def _recipe(number: int) -> Recipe:
    return Recipe(
        text=f"a mug on a table in the garden, product photograph, number {number}",
        negative_text="",
        model=MODEL,
        release="0" * 64,
        engine="stand-in/cpu/float32",
        mode=Mode.TEXT2IMG,
        width_px=512,
        height_px=512,
        steps=20,
        cfg_scale=7.5,
        sampler=Sampler.EULER,
        seed=number,
        lora_name="",
        lora_weight=1.0,
        lora_digest="",
        strength=None,
        image_digest=None,
        mask_digest=None,
        control_digest=None,
    )


def _figures(
    crew: list[StandInWorker], watch: _Watch, client: Mapping[str, float], rows: int, picture_s: float
) -> dict[str, float]:
    made: Counter[str] = sum((worker.made for worker in crew), Counter())
    span_s = max(worker.last_s for worker in crew) - min(worker.first_s for worker in crew)
    calls, redis_s = watch.spent()
    window = max(SHORTEST_WINDOW, WINDOW_BATCHES * BATCH * len(crew))
    return {
        "pictures a second": rows / span_s,
        "workers: idle, %": 100 * (1 - rows * picture_s / (len(crew) * span_s)),
        "pictures made twice": made.total() - len(made),
        "pictures missing": rows - client["made"],
        "client: memory, MB": client["rss_mb"],
        "client: growth of memory from a tenth of the rows on, MB": client["growth_mb"],
        "manifest, MB": client["manifest_mb"],
        "client: processor ms of a picture": 1000 * client["cpu_s"] / rows,
        "Redis: calls of a picture": calls / rows,
        "Redis: processor ms of a picture": 1000 * redis_s / rows,
        "Redis: most jobs held, of the window": watch.most_jobs / window,
        "Redis: most memory, MB": watch.most_bytes / _MB,
        "Redis: keys left": watch.keys(),
    }


HOST_ROWS, HOST_STEP_S = 200, 0.25


def hosts() -> dict[str, float]:
    """One catalog on one worker and on four; and on four of which two are killed half-way, with the catalog's run."""
    figures: dict[str, float] = {}
    with _fleet(HOST_STEP_S) as fleet:
        _grow(fleet, 1)
        one_s = told_by(fleet.run("one", HOST_ROWS))["wall_s"]
        _grow(fleet, 3)
        before = [len(host.stored()) for host in fleet.hosts]
        four_s = told_by(fleet.run("four", HOST_ROWS))["wall_s"]
        painted = [len(host.stored()) - had for host, had in zip(fleet.hosts, before, strict=True)]
        figures |= {"one worker s": one_s, "four workers s": four_s, "four workers, time of one": four_s / one_s}
        figures |= {"least pictures of a worker": min(painted), "pictures stored twice": fleet.stored_twice()}
        figures |= _killed(fleet)
    return figures


def _killed(fleet: Fleet) -> dict[str, float]:
    before = fleet.stored()
    run = fleet.run("killed", HOST_ROWS)
    wait_for("half of the pictures", lambda: fleet.stored() - before >= HOST_ROWS // 2, _PATIENCE_S)
    for host in fleet.hosts[:2]:
        host.kill()
    run.kill()
    told = told_by(fleet.run("killed", HOST_ROWS))
    return {
        "killed half-way: pictures stored twice": fleet.stored_twice(),
        "killed half-way: pictures missing": HOST_ROWS - told["made"] - told["reused"],
    }


REQUESTS, REQUEST_STEP_S = 60, 0.05


def interactive() -> dict[str, float]:
    """p95 of single requests on four workers that have nothing else to do, and beside a catalog that fills them."""
    with _fleet(REQUEST_STEP_S) as fleet:
        _grow(fleet, 4)
        with _opened(fleet) as queue:
            quiet_s = _waits_s(queue)
            began = fleet.stored()
            fleet.run("large", 100_000)
            wait_for("the catalog", lambda: fleet.stored() - began >= 100, _PATIENCE_S)
            began_s, began = time.monotonic(), fleet.stored()
            busy_s = _waits_s(queue)
            rate = (fleet.stored() - began) / (time.monotonic() - began_s)
    return {
        "interactive p95 quiet, s": quiet_s,
        "interactive p95 beside a catalog, s": busy_s,
        "interactive p95 beside a catalog, of the quiet one": busy_s / quiet_s,
        "pictures of the catalog a second meanwhile": rate,
    }


def _waits_s(queue: RequestQueue) -> float:
    """The p95 of requests that come one every quarter of a second, by the clock of Redis, s."""
    ids = []
    for number in range(REQUESTS):
        asked = {"text": f"a cup {number}", "model_type": MODEL, "params": {"resolution": "64x64"}}
        request = GenerationRequest.model_validate(asked)
        ids.append(queue.submit(NewTask(id=new_task_id(), request=request), owner="anna").id)
        time.sleep(0.25)
    wait_for("the requests", lambda: all(task and task.status.ended for task in queue.tasks(ids)), _PATIENCE_S)
    waits_s = sorted(task.updated_at_s - task.created_at_s for task in queue.tasks(ids) if task)
    return waits_s[int(0.95 * len(waits_s))]


@contextmanager
def _fleet(step_s: float) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), step_s=step_s)
        try:
            yield fleet
        finally:
            fleet.end()


@contextmanager
def _opened(fleet: Fleet) -> Iterator[RequestQueue]:
    path = Path(fleet.environment["IMAGEGENX_QUEUE__PATH"])
    queue = open_queue(Settings(home=path.parent, queue=QueueSettings(path=path)))
    try:
        yield queue
    finally:
        queue.close()


def _grow(fleet: Fleet, count: int) -> None:
    """Start more workers, and wait until they live."""
    fleet.grow(count)
    with _opened(fleet) as queue:
        wait_for("the workers", lambda: len(queue.workers()) == len(fleet.hosts), _PATIENCE_S)


GPUS, SIMULATED_S = (64, 250, 1_000, 4_000), 40.0
REDIS_MS, CLIENT_MS = 0.5, 0.8
"""What one picture costs Redis and a client, ms of a processor; measured by `large`."""


def thousand(picture_s: float = 2.5) -> dict[str, float]:
    """How busy the GPUs are as their number grows, with one catalog and with ten; what Redis and the clients do then.

    Args:
        picture_s: what a GPU needs for a picture; 2.5 s is 30 steps of SDXL on a present one, with room.
    """
    figures: dict[str, float] = {}
    for gpus in GPUS:
        for catalogs in (1, 10):
            busy = _Simulation(gpus, catalogs, picture_s).run()
            figures |= {f"{gpus} GPUs, {catalogs} catalogs: {what}, %": 100 * share for what, share in busy.items()}
    return figures


class _Simulation:
    """GPUs that each hold a few jobs, one Redis and some clients, each of which does one thing after the other.

    Every picture is claimed (batches of `BATCH`, through Redis), painted, answered (Redis), heard of and replaced by a
    new job (the client of its catalog, then Redis).
    """

    def __init__(self, gpus: int, catalogs: int, picture_s: float) -> None:
        self._picture_s = picture_s
        self._window = (WINDOW_BATCHES if catalogs == 1 else 1) * BATCH * gpus
        self._free = {"Redis": 0.0, **{f"client {n}": 0.0 for n in range(catalogs)}}
        self._spent = dict.fromkeys(self._free, 0.0)
        self._waiting: deque[int] = deque(n % catalogs for n in range(self._window * catalogs))
        self._idle: deque[int] = deque()
        self._events: list[tuple[float, int, str, int, int]] = []
        self._held = [0] * gpus
        self._free_gpu_s = [0.0] * gpus
        self._painted_s = 0.0
        self._number = 0

    def run(self) -> dict[str, float]:
        """Shares of the time: GPUs painting, Redis and the busiest client working."""
        for gpu in range(len(self._held)):
            self._claim(0.0, gpu)
        while self._events and self._events[0][0] < SIMULATED_S:
            now_s, _, what, gpu, catalog = heapq.heappop(self._events)
            if what == "painted":
                self._painted(now_s, gpu, catalog)
            else:
                self._refilled(now_s, catalog)
        clients = max(self._spent[name] for name in self._free if name != "Redis")
        return {
            "GPUs busy": self._painted_s / (len(self._held) * SIMULATED_S),
            "Redis busy": self._spent["Redis"] / SIMULATED_S,
            "busiest client": clients / SIMULATED_S,
        }

    def _claim(self, now_s: float, gpu: int) -> None:
        count = min(2 * BATCH - self._held[gpu], len(self._waiting))
        if not count:
            self._idle.append(gpu)
            return
        got_s = self._use("Redis", now_s, REDIS_MS / 3 * count)
        for _ in range(count):
            began_s = max(self._free_gpu_s[gpu], got_s)
            self._free_gpu_s[gpu] = began_s + self._picture_s
            self._painted_s += max(0.0, min(SIMULATED_S, began_s + self._picture_s) - min(SIMULATED_S, began_s))
            self._later(self._free_gpu_s[gpu], "painted", gpu, self._waiting.popleft())
        self._held[gpu] += count

    def _painted(self, now_s: float, gpu: int, catalog: int) -> None:
        self._held[gpu] -= 1
        answered_s = self._use("Redis", now_s, REDIS_MS / 3)
        heard_s = self._use(f"client {catalog}", answered_s, CLIENT_MS)
        self._later(self._use("Redis", heard_s, REDIS_MS / 3), "refilled", 0, catalog)
        if self._held[gpu] <= BATCH:
            self._claim(answered_s, gpu)

    def _refilled(self, now_s: float, catalog: int) -> None:
        self._waiting.append(catalog)
        if self._idle:
            self._claim(now_s, self._idle.popleft())

    def _use(self, who: str, now_s: float, ms: float) -> float:
        """When someone, who does one thing at a time, is done with this."""
        self._free[who] = max(self._free[who], now_s) + ms / 1000
        self._spent[who] += ms / 1000
        return self._free[who]

    def _later(self, at_s: float, what: str, gpu: int, catalog: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, what, gpu, catalog))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
