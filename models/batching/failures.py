"""What went wrong, in words for the person who asked for the picture."""

import logging

from foundation.error_text import cause_text, error_text
from foundation.errors import ImageGenXError
from models.errors import OutOfMemoryError
from models.image import FailedImage
from models.recipe import Recipe

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = "out of memory: {} does not fit beside what is in use. Ask for fewer pixels, or try again later."
"""Without PyTorch's own words: of some of its memory errors they are those of a lost device."""


def failed(job_id: str, recipe: Recipe, exc: Exception) -> FailedImage:
    """The result of a job that gave no picture; what is not an error of our own is logged as well."""
    if isinstance(exc, ImageGenXError):
        return FailedImage(job_id, recipe, error_text(str(exc)), exc.cause)
    if _is_out_of_memory(exc):
        logger.warning("job %s ran out of memory: %s", job_id, exc)
        return FailedImage(job_id, recipe, _OUT_OF_MEMORY.format(recipe.size), OutOfMemoryError.cause)
    logger.error("job %s failed", job_id, exc_info=exc)
    return FailedImage(job_id, recipe, f"generation failed: {type(exc).__name__}: {cause_text(exc)}")


def _is_out_of_memory(exc: Exception) -> bool:
    """Also gives back what memory can be given back by now."""
    from models.denoising.memory import is_out_of_memory, return_memory

    if not is_out_of_memory(exc):
        return False
    exc.__traceback__ = None
    return_memory()
    return True
