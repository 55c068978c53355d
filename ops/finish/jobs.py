"""Picture jobs: what is to become of their pictures, and what became of them."""

from configs.settings import Settings
from io_managers.image_set import picture_key
from models.errors import ModelError
from models.picture_job import PictureJob, PictureOutcome
from models.recipe import PostStep
from ops.finish.failure import Failure
from ops.finish.finisher import FinishedPicture, PicturePlan
from ops.stages import Change, recorded_change

_NOT_COMPUTED = ("moderate", "encode", "store")
"""Stages whose seconds a row of a manifest does not count."""


def job_plan(job: PictureJob, settings: Settings, *, engine: str = "") -> PicturePlan:
    """What becomes of a job's picture: of the generated one, or of the stored one that it names.

    Args:
        engine: how it is generated here, where that is another way than the recipe's.
    Raises:
        ModelError: if a step of the recipe is made with other files here.
        WatermarkError: if a font or logo is missing.
    """
    recipe = job.recipe.model_copy(update={"engine": engine or job.recipe.engine})
    steps = recipe.post[-1:] if job.source_key else recipe.post
    before = recipe.post[: len(recipe.post) - len(steps)]
    return PicturePlan(
        key=picture_key(recipe, job.format),
        generated=recipe.model_copy(update={"post": before}),
        format=job.format,
        quality=job.quality,
        changes=tuple(_exact_change(step, settings) for step in steps),
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
        moderated_by=finished.moderated_by,
        reused=finished.reused,
    )


def failed_outcome(job: PictureJob, failure: Failure) -> PictureOutcome:
    """What became of a job that came to this."""
    return PictureOutcome(
        id=job.id, recipe=job.recipe, error=failure.error, cause=failure.cause, rejected=failure.rejected
    )


def _exact_change(step: PostStep, settings: Settings) -> Change:
    change = recorded_change(step, settings)
    if change.step != step:
        raise ModelError(
            f"the recipe's step '{step.op}' uses file {step.uses[:12]}, the one here is {change.step.uses[:12]}."
            " Give all machines the same files, or run the catalog again."
        )
    return change
