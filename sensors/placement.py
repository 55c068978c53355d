"""Where runs are placed: the tags by which launchers of many machines give workers a GPU, and other runs none."""

import json
from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from configs.placement_settings import PlacementSettings
from configs.settings import load_settings
from sensors.serving_runs import SERVING_JOB

RAY_TAG = "dagster-ray/config"
KUBERNETES_TAG = "dagster-k8s/config"
_SHARED_MEMORY = "worker-shared-memory"


def placement_tags(job_name: str, placement: PlacementSettings) -> dict[str, str]:
    """What a run of this job asks its launcher for; no tags where runs stay on this machine.

    Args:
        job_name: of any job, Dagster's hidden job for assets included.
    """
    is_worker = job_name == SERVING_JOB
    match placement.launcher:
        case "ray":
            return {RAY_TAG: json.dumps(_ray_config(placement, is_worker))}
        case "kubernetes":
            config = _worker_pod(placement) if is_worker else _other_pod(placement)
            return {KUBERNETES_TAG: json.dumps(config)}
        case _:
            return {}


class PlacedRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue of runs, which every run goes through whoever asked for it: here each gets its tags.

    Runs of sensors, schedules, automation, backfills and Dagster's pages alike, and retries of all of them. Tags of
    jobs would not do: runs of assets and backfills have no job of ours.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Place the run, and queue it; a tag that somebody gave it stays as it is.

        Raises:
            ConfigError: if the settings of this process cannot be read.
        """
        run = context.dagster_run
        tags = placement_tags(run.job_name, load_settings().placement)
        if missing := {name: value for name, value in tags.items() if name not in run.tags}:
            self._instance.add_run_tags(run.run_id, missing)
        return super().submit_run(context)


def _ray_config(placement: PlacementSettings, is_worker: bool) -> Mapping[str, Any]:
    """Without a share of a CPU, Ray would have every run on its head."""
    memory = placement.worker_memory_bytes if is_worker else placement.run_memory_bytes
    config: dict[str, Any] = {"num_cpus": placement.worker_cpus if is_worker else placement.run_cpus}
    if is_worker and placement.worker_gpus:
        config["num_gpus"] = placement.worker_gpus
    return config | ({"memory": memory} if memory else {})


def _worker_pod(placement: PlacementSettings) -> Mapping[str, Any]:
    """A pod with a GPU, memory to share between processes, and time to give its requests back."""
    shared = {"medium": "Memory", "sizeLimit": str(placement.shared_memory_bytes)}
    gpus: dict[str, str] = {}
    pod: dict[str, Any] = {
        "termination_grace_period_seconds": placement.worker_grace_s,
        "volumes": [{"name": _SHARED_MEMORY, "emptyDir": shared}],
    }
    if placement.worker_gpus:
        gpus[placement.gpu_resource] = str(placement.worker_gpus)
        pod["tolerations"] = [{"key": placement.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]
    container = {
        "resources": _kubernetes_resources(placement.worker_cpus, placement.worker_memory_bytes, gpus),
        "volume_mounts": [{"name": _SHARED_MEMORY, "mountPath": "/dev/shm"}],
    }
    return {"container_config": container, "pod_spec_config": pod}


def _other_pod(placement: PlacementSettings) -> Mapping[str, Any]:
    """A pod without a GPU, even where the launcher gives one to every pod: that is what SHALLOW undoes."""
    resources = _kubernetes_resources(placement.run_cpus, placement.run_memory_bytes, {})
    return {"container_config": {"resources": resources}, "merge_behavior": "SHALLOW"}


def _kubernetes_resources(cpus: float, memory_bytes: int | None, gpus: Mapping[str, str]) -> Mapping[str, Any]:
    memory = {"memory": str(memory_bytes)} if memory_bytes else {}
    return {"requests": {"cpu": f"{round(cpus * 1000)}m", **memory}, "limits": {**memory, **gpus}}
