"""Previews of requests that somebody watches: small, seldom, and in nobody's way."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from models.batching.ticket import Ticket
from ops.marking import Marker
from ops.serving.open_task import OpenTask
from ops.serving.planning import PlannedPicture
from resources.queue import Preview, QueueError, RequestQueue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

logger = logging.getLogger(__name__)

SIDE_PX = 256
QUALITY = 70


class Previewing:
    """Shows how far pictures are. Safe for threads.

    Args:
        every_s: a task's previews are this far apart at least; 0 shows none.
    """

    def __init__(self, queue: RequestQueue, every_s: float, marker: Marker) -> None:
        self._queue, self._every_s, self._marker = queue, every_s, marker
        self._thread = ThreadPoolExecutor(1, "previews")

    def watched(self, task: OpenTask) -> None:
        """Somebody watches this task."""
        now = time.monotonic()
        if self._every_s and not task.is_closed and now - task.shown_at_s >= self._every_s:
            task.shown_at_s = now
            for ticket in list(task.tickets):
                ticket.ask_for_preview()

    def follow(self, task: OpenTask, picture: PlannedPicture, ticket: Ticket) -> None:
        """Show what the engine tells of a ticket; it is asked while somebody watches."""

        def shown(pixels: "Callable[[], NDArray[np.uint8]]") -> None:
            with suppress(RuntimeError):  # the worker ends
                self._thread.submit(self._show, task, picture, pixels)

        ticket.on_preview = shown

    def close(self) -> None:
        """Show no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _show(self, task: OpenTask, picture: PlannedPicture, pixels: "Callable[[], NDArray[np.uint8]]") -> None:
        if task.is_closed:
            return
        try:
            progress, image = task.percent(), small(pixels())
            jpeg = b64encode(self._marker.preview(image, QUALITY, picture.plan.recipe)).decode()
            self._queue.show(task.claim, Preview(number=picture.n, progress=progress, jpeg=jpeg))
        except QueueError as exc:
            logger.warning("no preview of task %s: %s", task.id, exc)
        except Exception:
            logger.exception("no preview of task %s", task.id)


def small(pixels: "NDArray[np.uint8]") -> "Image":
    """A preview (h, w, 3) as a picture with a longer side of `SIDE_PX`."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    scale = SIDE_PX / max(picture.size)
    width, height = (max(1, round(scale * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)
