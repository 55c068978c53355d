"""Settings of where runs are placed, for launchers that have many machines to choose from."""

from typing import Literal

from pydantic import Field

from foundation.value_object import ValueObject


class PlacementSettings(ValueObject):
    """What runs ask the launcher of many machines for: a GPU for each worker, none for any other run."""

    launcher: Literal["none", "ray", "kubernetes"] = Field(
        default="none", description="whose tags runs carry; it must be the run launcher of dagster.yaml"
    )
    worker_gpus: int = Field(default=1, ge=0, le=1, description="GPUs of a worker (`serving_run`); 0: it has the CPU")
    worker_cpus: float = Field(default=1, gt=0, le=1024, description="CPU cores kept for a worker")
    worker_memory_bytes: int | None = Field(default=None, ge=1, description="memory kept for a worker, bytes")
    run_cpus: float = Field(default=0.5, gt=0, le=1024, description="CPU cores kept for any other run")
    run_memory_bytes: int | None = Field(default=None, ge=1, description="memory kept for any other run, bytes")
    gpu_resource: str = Field(
        default="nvidia.com/gpu",
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$",
        description="what Kubernetes calls a GPU; nodes that carry it as a taint are tolerated",
    )
    shared_memory_bytes: int = Field(
        default=1 << 30, ge=1 << 26, description="size of /dev/shm of a worker's pod, bytes; it counts as its memory"
    )
    worker_grace_s: int = Field(
        default=120, ge=30, le=3600, description="a worker's pod that is told to end has so long, s"
    )
