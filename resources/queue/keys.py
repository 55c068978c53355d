"""Where on-demand pictures live in the object store."""

import re
from datetime import UTC, datetime

from models.request import ImageFormat
from resources.queue.task import Task

_SIZE = re.compile(r"_(\d+)x(\d+)\.\w+$", re.ASCII)


def original_key(task: Task, n: int, width_px: int, height_px: int, format: ImageFormat) -> str:
    """The key of a task's picture `n` (from 1): `{YYYYMMDD}/{task_id}_{W}x{H}.{ext}`, the date in UTC.

    The second picture and those after it have `{task_id}~{n}`; no task id holds a tilde, so that no two tasks meet.
    A task done twice has the same keys.
    """
    return f"{_stem(task, n)}_{width_px}x{height_px}.{format}"


def thumb_key(task: Task, n: int, width_px: int, height_px: int) -> str:
    """The key of the thumbnail of picture `n`, after its own size, which is another than the picture's."""
    return f"{_stem(task, n)}_{width_px}x{height_px}.webp"


def pixels_of(key: str) -> int:
    """How many pixels the picture of such a key has; 0 for a key that does not say."""
    size = _SIZE.search(key)
    return int(size[1]) * int(size[2]) if size else 0


def _stem(task: Task, n: int) -> str:
    day = datetime.fromtimestamp(task.created_at_s, UTC)
    return f"{day:%Y%m%d}/{task.id}" + (f"~{n}" if n > 1 else "")
