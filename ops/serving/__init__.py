"""Serving: the loop that does what the request queue holds, over one warm engine. It knows nothing of Dagster."""

from ops.serving.dependencies import WorkerDependencies
from ops.serving.groups import ResultGroup
from ops.serving.worker import DeviceLostError, End, EngineStalledError, ServingWorker

__all__ = ["DeviceLostError", "End", "EngineStalledError", "ResultGroup", "ServingWorker", "WorkerDependencies"]
