"""Input pictures: of requests, fetched by URL or uploaded before; of picture jobs, put into the store by their run."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from configs.settings import Settings
from io_managers.image_set import MAX_STORED_PIXELS
from models.errors import PictureError
from models.image import Pictures, check_together, input_picture, open_stored_picture
from models.picture_job import PictureJob
from models.request import STORED, GenerationRequest
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore
from resources.outbound import Deadline, open_outbound

if TYPE_CHECKING:
    from PIL.Image import Image

    from resources.outbound.client import OutboundClient

_RUN_AGAIN = "Run the catalog again."


class Inputs:
    """Where input pictures come from. Safe for threads."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store

    def of_request(self, request: GenerationRequest, is_wanted: Callable[[], bool]) -> Pictures:
        """Image, mask and control pictures, as far as the request names them; fetched within one time limit.

        Args:
            is_wanted: asked again and again; when it says no, nothing more is fetched.
        Raises:
            OutboundError: if one cannot be fetched; NotWantedError if it is not wanted any more.
            PictureError: if one is not in the store, is no picture, or they have too many pixels.
            StoreError: if the store fails.
        """
        deadline = Deadline(self._settings.gateway.fetch_timeout_s, is_wanted)

        def read(reference: str) -> bytes:
            if not reference.startswith(STORED):
                return self._client.fetch_picture(reference, deadline)
            return self._stored(reference.removeprefix(STORED), "the uploaded picture", "Upload it again.")

        return self._opened(request.inputs, read)

    def of_job(self, job: PictureJob) -> Pictures:
        """Image, mask and control pictures of a picture job. Raises PictureError and StoreError as above."""

        def read(key: str) -> bytes:
            return self._stored(key, f"the input picture {key}", _RUN_AGAIN)

        return self._opened((job.image_key, job.mask_key, *job.all_control_keys), read)

    def source(self, key: str) -> "Image":
        """A stored picture that is to be changed. Raises PictureError and StoreError as above."""
        return open_stored_picture(self._stored(key, f"the picture {key}", _RUN_AGAIN), MAX_STORED_PIXELS)

    def _opened(self, references: Sequence[str | None], read: Callable[[str], bytes]) -> Pictures:
        most = self._settings.pictures.max_input_pixels
        image, mask, *controls = (input_picture(read(one), most) if one else None for one in references)
        check_together((image, mask, *controls), most)
        return image, mask, [picture for picture in controls if picture]

    def _stored(self, key: str, what: str, remedy: str) -> bytes:
        try:
            return self._store.get(key)
        except (ObjectNotFoundError, InvalidKeyError) as exc:
            raise PictureError(f"{what} is no longer in the store. {remedy}") from exc

    @cached_property
    def _client(self) -> "OutboundClient":
        return open_outbound(self._settings)
