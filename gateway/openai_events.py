"""The events of OpenAI's image streams: `image_generation.partial_image`, `….completed`, and `error`."""

import json
import time
from typing import Literal

from resources.queue import Preview, Task

KEEP_ALIVE = b": still here\n\n"
_SILENT_S = 15.0
"""After so long without an event a stream says something, so that no proxy cuts it."""
_FORMATS = {"jpg": "jpeg"}


class OpenAIEvents:
    """The events of one stream, in order.

    Partial pictures are previews: small JPEGs, of the first picture of a task. They are spread over its time: number k
    of n, from 0, comes once k/n of the steps are done.
    """

    def __init__(self, kind: Literal["generation", "edit"], task: Task, partial_images: int) -> None:
        params = task.request["params"]
        self._kind, self._most, self._shown = kind, partial_images, 0
        self._about = {"size": params["resolution"].replace("×", "x"), "quality": "auto", "background": "opaque"}
        self._format = _FORMATS.get(params["post_process"]["format"], params["post_process"]["format"])
        self._said_at_s = time.monotonic()

    def is_silent(self) -> bool:
        """Whether it is time to say something; then that is taken as said."""
        is_silent = time.monotonic() - self._said_at_s >= _SILENT_S
        if is_silent:
            self._said_at_s = time.monotonic()
        return is_silent

    def partial(self, preview: Preview) -> bytes:
        """A partial picture, or nothing if it is not due."""
        is_due = self._shown < self._most and preview.progress >= 100 * self._shown / self._most
        if preview.number != 1 or not is_due:
            return b""
        self._shown += 1
        data = {"b64_json": preview.jpeg, "output_format": "jpeg", "partial_image_index": self._shown - 1}
        return self._event("partial_image", data)

    def completed(self, b64_json: str) -> bytes:
        """A finished picture."""
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        usage_details = {"input_tokens_details": {"image_tokens": 0, "text_tokens": 0}}
        return self._event(
            "completed", {"b64_json": b64_json, "output_format": self._format, "usage": {**usage, **usage_details}}
        )

    def failed(self, error: object) -> bytes:
        """Why there are no pictures."""
        return _sent("error", {"type": "error", "error": error})

    def _event(self, what: str, data: dict[str, object]) -> bytes:
        self._said_at_s = time.monotonic()
        name = f"image_{self._kind}.{what}"
        return _sent(name, {"type": name, "created_at": int(time.time()), **self._about, **data})


def _sent(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
