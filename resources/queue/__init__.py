"""The request queue: requests and picture jobs in Redis Streams, claimed by workers, watched and told about."""

from resources.queue.callbacks import DueCallback
from resources.queue.errors import (
    BudgetError,
    ConflictError,
    OwnerLimitError,
    QueueAccessError,
    QueueError,
    QueueFullError,
    QueueUnavailableError,
)
from resources.queue.jobs import CATALOG_OWNER, catalog_owner
from resources.queue.keys import original_key, pixels_of, thumb_key
from resources.queue.places import QueuePlace
from resources.queue.previews import Preview
from resources.queue.request_queue import RequestQueue, open_queue
from resources.queue.submitting import UploadSize
from resources.queue.task import (
    STORED_ID,
    TASK_ID,
    Batch,
    NewTask,
    Task,
    TaskPicture,
    TaskResult,
    TaskStatus,
    new_batch_id,
    new_task_id,
    owned_id,
)
from resources.queue.usage import DAY_S, OwnerUsage, SpendingLimit, UsageEntry
from resources.queue.waiting import Bells
from resources.queue.worker import Claim, QueueDepth, Renewal, WorkerState

__all__ = [
    "CATALOG_OWNER",
    "DAY_S",
    "STORED_ID",
    "TASK_ID",
    "Batch",
    "Bells",
    "BudgetError",
    "Claim",
    "ConflictError",
    "DueCallback",
    "NewTask",
    "OwnerLimitError",
    "OwnerUsage",
    "Preview",
    "QueueAccessError",
    "QueueDepth",
    "QueueError",
    "QueueFullError",
    "QueuePlace",
    "QueueUnavailableError",
    "Renewal",
    "RequestQueue",
    "SpendingLimit",
    "Task",
    "TaskPicture",
    "TaskResult",
    "TaskStatus",
    "UploadSize",
    "UsageEntry",
    "WorkerState",
    "catalog_owner",
    "new_batch_id",
    "new_task_id",
    "open_queue",
    "original_key",
    "owned_id",
    "pixels_of",
    "thumb_key",
]
