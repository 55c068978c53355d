"""The same model behind LitServe, with its batching: what `benchmarks.serving` compares to.

`python -m benchmarks.litserve_app PORT STEPS` serves until it is ended. A picture comes back as WebP, as ours is
stored; nothing is stored here, and nothing survives a crash.
"""

import base64
import sys
from typing import Any

import litserve  # type: ignore[import-untyped]

from benchmarks.engine import SequentialDiffusers, open_workplace, uniform_jobs
from benchmarks.serving import SIZE
from configs.settings import load_settings
from models.encoding import encode_picture

BATCH, WINDOW_S = 8, 0.050


class PictureAPI(litserve.LitAPI):  # type: ignore[misc]
    """diffusers' own pipeline, a batch at a time."""

    def __init__(self, steps: int) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WINDOW_S)
        self._steps = steps

    def setup(self, device: str) -> None:
        """Load the model and paint one batch."""
        import torch

        place = open_workplace()
        if threads := load_settings().engine.threads:
            torch.set_num_threads(threads)
        self._pipeline = SequentialDiffusers(place)
        self._recipe = uniform_jobs(place, 1, SIZE, self._steps)[0].recipe
        self._pipeline.paint([self._recipe] * 2)

    def decode_request(self, request: dict[str, Any], **_: object) -> dict[str, Any]:
        """Prompt and seed."""
        return request

    def batch(self, inputs: list[Any]) -> list[Any]:
        """As they are."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """As they are."""
        return output

    def predict(self, x: list[dict[str, Any]], **_: object) -> list[Any]:
        """The pictures of a batch."""
        recipes = [self._recipe.model_copy(update={"text": one["text"], "seed": one["seed"]}) for one in x]
        return self._pipeline.paint(recipes)

    def encode_response(self, output: Any, **_: object) -> dict[str, str]:
        """A WebP picture."""
        return {"picture": base64.b64encode(encode_picture(output, "webp", 95, None)).decode()}


if __name__ == "__main__":
    server = litserve.LitServer(PictureAPI(int(sys.argv[2])), accelerator="cpu", workers_per_device=1, timeout=600)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
