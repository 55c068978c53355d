"""A worker without a model: claims through the queue, stores plain pictures, and ends the tasks."""

import base64
import hashlib
import io
import threading
import time
from itertools import chain, repeat

from PIL import Image, ImageDraw

from foundation.errors import FailureCause
from models.gpus import GPULoad
from resources.object_store import ObjectStore
from resources.queue import Claim, Preview, RequestQueue, TaskPicture, TaskResult, WorkerState, original_key

STEPS = (10, 35, 60, 85)


class Painter:
    """Does what the queue holds, until it is left.

    Texts that contain `fail` fail; those with `slow` take `slow_s`; those with `held` are painted until cancelled.
    """

    slow_s = 0.6

    def __init__(self, queue: RequestQueue, store: ObjectStore) -> None:
        self._queue = queue
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="painter")
        self.errors: list[BaseException] = []

    def __enter__(self) -> "Painter":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.errors == []

    def state(self) -> WorkerState:
        load = GPULoad(0, 42.0, 3 * 1024**3, 8 * 1024**3)
        return WorkerState(id="painter", started_at_s=1.0, batch_fill=0.5, gpu_loads=(load,), counters={"pictures": 3})

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._queue.renew(self.state(), [])
                for claim in self._queue.claim("painter", 4, block_s=0.2):
                    self._paint(claim)
        except BaseException as exc:
            self.errors.append(exc)

    def _paint(self, claim: Claim) -> None:
        text = claim.task.request["text"]
        is_held = "held" in text
        for percent in chain(STEPS, repeat(STEPS[-1])) if is_held else STEPS:
            if claim.id in self._queue.progress_all([(claim, percent, 0.0)]).watched:
                self._queue.show(claim, Preview(number=1, progress=percent, jpeg=PREVIEW))
            if (is_held or "slow" in text) and self._cancelled_within(claim, self.slow_s / len(STEPS)):
                return
        if "fail" in text:
            self._queue.fail(claim, "The input picture could not be fetched.", FailureCause.INPUT_PICTURE)
        else:
            count = claim.task.request["params"]["num_images"]
            pictures = tuple(self._picture(claim, n) for n in range(1, count + 1))
            self._queue.succeed(claim, TaskResult(pictures=pictures, seconds={"denoise": 0.2, "store": 0.01}))

    def _cancelled_within(self, claim: Claim, seconds: float) -> bool:
        """Painting takes its time: this is the work, not a wait for something."""
        time.sleep(seconds)
        if claim.id in self._queue.renew(self.state(), [claim]).cancelled:
            return self._queue.cancelled(claim)
        return False

    def _picture(self, claim: Claim, n: int) -> TaskPicture:
        task, params = claim.task, claim.task.request["params"]
        width, height = map(int, params["resolution"].split("×"))
        format = params["post_process"]["format"]
        image = drawn(task.request["text"], width, height)
        original = original_key(task, n, width, height, format)
        data = encoded(image, format)
        self._store.put(original, data, content_type=f"image/{format}")
        seed = params["seed"] + n - 1
        recipe = (
            f'{{"text":"{len(task.request["text"])} letters","seed":{seed},"steps":{params["steps"]},"mode":"text2img",'
            f'"width_px":{width},"height_px":{height},"sampler":"{params["sampler"]}","cfg_scale":{params["cfg_scale"]}}}'
        )
        return TaskPicture(
            original_key=original,
            thumb_key=original,
            width_px=width,
            height_px=height,
            format=format,
            size_bytes=len(data),
            seed=seed,
            recipe=recipe,
        )


def drawn(text: str, width: int, height: int) -> Image.Image:
    """A picture whose colours follow from its text."""
    digest = hashlib.sha256(text.encode()).digest()
    image = Image.new("RGB", (width, height), (230 - digest[0] // 6, 225 - digest[1] // 6, 215 - digest[2] // 6))
    draw = ImageDraw.Draw(image)
    colour = tuple(60 + value // 2 for value in digest[3:6])
    inset = min(width, height) // 4
    draw.ellipse((inset, inset, width - inset, height - inset), fill=colour)
    return image


def encoded(image: Image.Image, format: str) -> bytes:
    """The file of a picture."""
    target = io.BytesIO()
    image.save(target, {"jpg": "JPEG"}.get(format, format.upper()))
    return target.getvalue()


PREVIEW = base64.b64encode(encoded(Image.new("RGB", (32, 32), "teal"), "jpg")).decode()
"""Its previews, a JPEG."""
