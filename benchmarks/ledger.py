"""The ledger of usage against what the workers did: requests under kills and cancels, and budgets at their end."""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.child import measured
from benchmarks.serving_stack import wait_for
from benchmarks.stand_in import SteppingEngine, serve, write_stand_in_model
from configs.settings import load_settings
from gateway.errors import ServiceError
from gateway.main import open_service
from gateway.service import GatewayService
from resources.accounts import Account, Scope
from resources.usage_ledger import UsageLedger

REQUESTS, KILLS = 2_000, 20
USERS, WORKERS = 20, 2
"""Every other user has a budget of `BUDGET_S`."""
STEP_S, STEPS = 0.05, 10
BUDGET_S = 6.0
CANCELLED = 0.1
"""Share of the requests."""
PATIENCE_S = 1800.0
LIMITS = {"GPU seconds apart %": 1.0, "batches beyond a budget": 1.0}


def run(requests: int = REQUESTS, kills: int = KILLS) -> dict[str, float]:
    """How far the ledger is from the sum of the workers' steps, and how far a user came beyond a hard budget."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **write_stand_in_model(Path(folder) / "models"),
            "IMAGEGENX_HOME": folder,
            "IMAGEGENX_QUEUE__MAX_WAITING": str(2 * requests),
            "IMAGEGENX_USAGE__ASSUMED_GPU_S": str(STEP_S * STEPS / 8),
            "IMAGEGENX_USAGE__BUDGETS": json.dumps({"free": {"gpu_s_per_day": BUDGET_S}}),
        }
        figures: dict[str, float] = measured(apart, requests, kills, environment=environment)
        return figures


class _NotingEngine(SteppingEngine):
    """Notes every step that it has done, where a kill loses none."""

    def _step(self) -> None:
        super()._step()
        with _notes().open("a", encoding="utf-8") as notes:
            notes.write(f"{STEP_S}\n")


class _Workers:
    """Worker processes, of which one after the other is killed."""

    def __init__(self) -> None:
        self._running = [self._start() for _ in range(WORKERS)]

    def kill_one(self, dice: random.Random) -> None:
        """`kill -9`, and another in its place."""
        place = dice.randrange(WORKERS)
        self._end(self._running[place])
        self._running[place] = self._start()

    def end(self) -> None:
        """Kill all of them."""
        for worker in self._running:
            self._end(worker)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "benchmarks.ledger"])

    def _end(self, worker: "subprocess.Popen[bytes]") -> None:
        worker.kill()
        worker.wait()


def apart(requests: int, kills: int) -> dict[str, float]:
    """The figures, with the settings of the environment."""
    service, workers, dice = open_service(load_settings()), _Workers(), random.Random(5)
    accounts = [_account(service, place) for place in range(USERS)]
    began = time.monotonic()
    try:
        tasks, refused, killed = [], 0, 0
        for number in range(requests):
            try:
                tasks.append(service.submit(accounts[number % USERS], {"text": f"mug {number}"}).id)
            except ServiceError as exc:
                if exc.code != 402:
                    raise
                refused += 1
            if tasks and dice.random() < CANCELLED:
                service.queue.cancel(dice.choice(tasks))
            wait_for("room", lambda: _waiting(service, tasks[-200:]) < 150, PATIENCE_S)
            if killed < kills * number / requests:
                workers.kill_one(dice)
                killed += 1
        wait_for("the end of all tasks", lambda: not _waiting(service, tasks), PATIENCE_S)
    finally:
        workers.end()
    seconds = time.monotonic() - began
    return {"requests": requests, "refused": refused, "kills": killed, "seconds": seconds, **_apart(service, accounts)}


def _apart(service: GatewayService, accounts: Sequence[Account]) -> dict[str, float]:
    ledger, today = UsageLedger(service.store, service.queue), datetime.now(UTC).date()
    ledger.collect()
    entries = list(ledger.entries(today - timedelta(1), today))
    told_s = sum(entry.gpu_ms for entry in entries) / 1000
    done_s = sum(map(float, _notes().read_text(encoding="utf-8").split()))
    budgeted = [account.user_id for account in accounts if account.role == "free"]
    most_s = max(sum(entry.gpu_ms for entry in entries if entry.owner == user) / 1000 for user in budgeted)
    return {
        "GPU seconds of the workers": done_s,
        "GPU seconds of the ledger": told_s,
        "GPU seconds apart %": 100 * abs(told_s - done_s) / done_s,
        "batches beyond a budget": max(0.0, most_s - BUDGET_S) / (STEP_S * STEPS),
    }


def _account(service: GatewayService, place: int) -> Account:
    key = service.accounts.create(f"user-{place}", role="paid" if place % 2 else "free")
    return service.authenticate(key, Scope.SUBMIT)


def _waiting(service: GatewayService, tasks: Sequence[str]) -> int:
    return sum(task is not None and not task.status.ended for task in service.queue.tasks(tasks))


def _notes() -> Path:
    return Path(os.environ["IMAGEGENX_HOME"]) / "steps"


if __name__ == "__main__":
    serve(_NotingEngine(STEP_S, STEPS))
