"""What the queue and its workers tell each other."""

from dataclasses import dataclass

from pydantic import ConfigDict, Field

from foundation.value_object import ValueObject
from models.gpus import GPULoad
from models.request import Priority
from resources.queue.task import Task


@dataclass(frozen=True)
class Claim:
    """A worker's right to do a task, until its lease ends. `token` tells it from every other claim of the task.

    Attributes:
        is_job: the task's request is a `PictureJob`.
    """

    task: Task
    worker: str
    token: int
    attempt: int
    is_job: bool = False

    @property
    def id(self) -> str:
        """The task's id."""
        return self.task.id


@dataclass(frozen=True)
class Renewal:
    """What became of claims since the last heartbeat: task ids that are another's now, and those to be stopped."""

    lost: frozenset[str]
    cancelled: frozenset[str]


@dataclass(frozen=True)
class Heard:
    """What a worker hears when it tells progress: ids of tasks to be stopped, and of those that somebody watches."""

    cancelled: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()


class WorkerState(ValueObject):
    """What a worker says about itself with every heartbeat.

    What the worker of a later version says beyond this is left out: while a deployment is upgraded, its gateway and its
    workers are of two versions.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    host: str = Field(default="", description="the machine it is on, which its device ids are of")
    run_id: str = Field(default="", description="the Dagster run it lives in")
    started_at_s: float = Field(description="Unix time")
    batch_fill: float = Field(default=0, ge=0, le=1, description="mean share of a forward pass's places in use")
    gpu_loads: tuple[GPULoad, ...] = ()
    loaded: tuple[str, ...] = Field(default=(), description="models in memory")
    fetching: tuple[str, ...] = Field(default=(), description="models on their way to this machine")
    building: tuple[str, ...] = Field(default=(), description="engines and graphs being built, which requests wait for")
    counters: dict[str, float] = Field(default={}, description="totals since its start, by name")


@dataclass(frozen=True)
class QueueDepth:
    """How much there is to do.

    Attributes:
        waiting: requests, by lane; the oldest of them has waited for `oldest_waiting_s`.
        jobs: picture jobs of catalogs that wait.
        abandoned: claims that have no worker any more and wait to be taken over.
    """

    waiting: dict[Priority, int]
    jobs: int
    processing: int
    abandoned: int
    oldest_waiting_s: float
    dead: int

    @property
    def backlog(self) -> int:
        """Everything that no worker has."""
        return sum(self.waiting.values()) + self.jobs + self.abandoned
