"""Finishing a job's picture: moderated, encoded, stored, and described for its row of the manifest."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from io_managers.image_set import MAX_STORED_PIXELS, picture_key
from io_managers.look import look_at
from io_managers.settling import is_outage
from models.encoding import CONTENT_TYPES, encode_picture, rgb_picture
from models.errors import ImageGenXError
from models.image import open_stored_picture
from models.picture_job import PictureJob, PictureOutcome
from ops.moderation import Moderation, PictureRejectedError
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True)
class Finishing:
    """Stores pictures of jobs."""

    store: ObjectStore
    moderation: Moderation | None = None

    def finish(self, job: PictureJob, pixels: "Image | NDArray[np.uint8]", seconds: float) -> PictureOutcome:
        """Store a picture. Raises StoreError if the store fails; any other failure is the job's."""
        key = picture_key(job.recipe, job.format)
        try:
            image = rgb_picture(pixels)
            if self.moderation and job.moderate:
                self.moderation.review(key, image, job.recipe)
            data = encode_picture(image, job.format, job.quality, job.recipe if job.embed else None)
            stored = open_stored_picture(data, MAX_STORED_PIXELS)
            self.store.put(key, data, content_type=CONTENT_TYPES[job.format])
        except ImageGenXError as exc:
            return failed_outcome(job, exc)
        look = look_at(stored)
        return PictureOutcome(
            id=job.id,
            recipe=job.recipe,
            key=key,
            digest=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            width_px=stored.width,
            height_px=stored.height,
            seconds=seconds,
            spread=look.spread,
            fingerprint=look.fingerprint,
            moderated_by=self.moderation.stamp if self.moderation and job.moderate else "",
        )


def failed_outcome(job: PictureJob, error: ImageGenXError) -> PictureOutcome:
    """What becomes of a job that failed; an outage of the store is raised: it is no job's failure."""
    if is_outage(error):
        raise error
    rejected = isinstance(error, PictureRejectedError)
    return PictureOutcome(id=job.id, recipe=job.recipe, error=str(error), cause=error.cause, rejected=rejected)
