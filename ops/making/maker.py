"""The seam between catalogs and those who compute their pictures."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from models.picture_job import PictureJob, PictureOutcome
from models.resolution import Resolution

OnStep = Callable[[str, int, int], None]
"""Called with a job's id, the denoising steps done, and the steps to do."""


class PictureMaker(Protocol):
    """Ensures that pictures are in the store: in this process, or by the workers of the fleet."""

    def kind(self, model: str, size: Resolution) -> str:
        """How pictures of this model and size are computed, for recipes: `eager/cuda/float16`; "" if nobody knows yet.

        An outcome names the kind that its picture was really made with.
        """
        ...

    def ensure(self, jobs: Iterable[PictureJob], on_step: OnStep) -> Iterator[PictureOutcome]:
        """One outcome for each job, in any order, as they come; a job that fails ends no other.

        Jobs have different ids and are read lazily, a bounded number ahead; steps are told in the caller's thread.
        Closing the iterator withdraws what is under way.

        Raises:
            StoreError: if the store fails.
            OutageError: if the fleet's queue stays away.
        """
        ...
