"""Previews of requests that somebody watches: small, seldom, and in nobody's way."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from models.batching.ticket import Ticket
from ops.serving.open_task import OpenTask
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
        encode: makes the file of one, given whose it is.
    """

    def __init__(self, queue: RequestQueue, every_s: float, encode: "Callable[[Image, str], bytes]") -> None:
        self._queue, self._every_s, self._encode = queue, every_s, encode
        self._thread = ThreadPoolExecutor(1, "previews")

    def watched(self, task: OpenTask) -> None:
        """Somebody watches this task."""
        now = time.monotonic()
        if self._every_s and not task.is_closed and now - task.shown_at_s >= self._every_s:
            task.shown_at_s = now
            for ticket in list(task.tickets):
                ticket.ask_for_preview()

    def follow(self, task: OpenTask, number: int, ticket: Ticket) -> None:
        """Show what the engine tells of a ticket; it is asked while somebody watches."""

        def shown(pixels: "Callable[[], NDArray[np.uint8]]") -> None:
            with suppress(RuntimeError):  # the worker ends
                self._thread.submit(self._show, task, number, pixels)

        ticket.on_preview = shown

    def close(self) -> None:
        """Show no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _show(self, task: OpenTask, number: int, pixels: "Callable[[], NDArray[np.uint8]]") -> None:
        if task.is_closed:
            return
        try:
            jpeg = b64encode(self._encode(small(pixels()), task.task.owner)).decode()
            self._queue.show(task.claim, Preview(number=number, progress=task.percent(), jpeg=jpeg))
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
