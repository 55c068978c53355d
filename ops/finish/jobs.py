"""Picture jobs: what is to become of their pictures, and what became of them."""

from collections.abc import Callable
from dataclasses import dataclass

from foundation.error_text import error_text
from foundation.errors import FailureCause, ImageGenXError
from io_managers.image_set import picture_key
from io_managers.settling import is_outage
from models.errors import ModelError
from models.picture_job import PictureJob, PictureOutcome
from models.recipe import PostStep
from ops.finish.finisher import FinishedPicture, PicturePlan
from ops.moderation import PictureRejectedError
from ops.stages import Change


@dataclass(frozen=True)
class Failure:
    """What a picture failed of; `rejected` by a moderator's verdict."""

    error: str
    cause: FailureCause = FailureCause.OTHER
    rejected: bool = False

    @classmethod
    def of(cls, error: ImageGenXError) -> "Failure":
        """As an error tells it."""
        text = error_text(str(error)) or type(error).__name__
        return cls(text, error.cause, isinstance(error, PictureRejectedError))


_NOT_COMPUTED = ("moderate", "encode", "store")
"""Stages whose seconds a row of a manifest does not count."""


def _not_done_here(step: PostStep) -> Change:
    raise ModelError(f"the step '{step.op}' is not done where pictures are generated in the catalog's own process.")


def job_plan(job: PictureJob, redo: Callable[[PostStep], Change] = _not_done_here, *, engine: str = "") -> PicturePlan:
    """What becomes of a job's picture: of the generated one, or of the stored one that it names.

    Args:
        redo: the change that a step of the recipe records; raises if it cannot be that one.
        engine: how it is generated here, where that is another way than the recipe's.
    Raises:
        ImageGenXError: what `redo` raises.
    """
    recipe = job.recipe.model_copy(update={"engine": engine or job.recipe.engine})
    done = len(recipe.post) - job.steps if job.source_key else 0
    return PicturePlan(
        key=picture_key(recipe, job.format),
        generated=recipe.model_copy(update={"post": recipe.post[:done]}),
        format=job.format,
        quality=job.quality,
        changes=tuple(map(redo, recipe.post[done:])),
        embed=job.embed,
        moderate=job.moderate,
        with_look=True,
    )


def job_outcome(job: PictureJob, finished: FinishedPicture) -> PictureOutcome:
    """What became of a job whose picture is stored."""
    look = finished.look
    computed = (taken_s for stage, taken_s in finished.seconds.items() if stage not in _NOT_COMPUTED)
    return PictureOutcome(
        id=job.id,
        recipe=finished.plan.recipe,
        key=finished.plan.key,
        digest=finished.digest,
        size_bytes=finished.size_bytes,
        width_px=finished.width_px,
        height_px=finished.height_px,
        seconds=0.0 if finished.reused else sum(computed),
        spread=look.spread if look else 0.0,
        fingerprint=look.fingerprint if look else "",
        moderated_by=finished.allowed.by,
        verdict=finished.allowed.verdict,
        reused=finished.reused,
    )


def failed_outcome(job: PictureJob, failure: Failure) -> PictureOutcome:
    """What became of a job that came to this."""
    return PictureOutcome(
        id=job.id, recipe=job.recipe, error=failure.error, cause=failure.cause, rejected=failure.rejected
    )


def finish_job(job: PictureJob, finish: Callable[[], FinishedPicture]) -> PictureOutcome:
    """What becomes of a job when this is done for it.

    Raises:
        StoreError: if the store itself fails, which is no job's failure.
    """
    try:
        return job_outcome(job, finish())
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return failed_outcome(job, Failure.of(exc))
