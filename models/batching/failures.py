"""What went wrong, in words for the person who asked for the picture."""

import logging

from models.errors import ImageGenXError
from models.image import FailedImage
from models.recipe import Recipe

logger = logging.getLogger(__name__)


def failed(job_id: str, recipe: Recipe, exc: Exception) -> FailedImage:
    """The result of a job that gave no picture; what is not an error of our own is logged as well."""
    if isinstance(exc, ImageGenXError):
        return FailedImage(job_id, recipe, str(exc), exc.cause)
    logger.error("job %s failed", job_id, exc_info=exc)
    return FailedImage(job_id, recipe, f"generation failed: {type(exc).__name__}: {exc}")
