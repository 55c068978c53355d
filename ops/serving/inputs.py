"""Input pictures of requests: fetched by URL, or uploaded to the object store before."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from configs.settings import Settings
from models.errors import PictureError
from models.image import InputPicture, check_together, input_picture
from models.request import GenerationRequest
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore
from resources.outbound import Deadline, open_outbound

if TYPE_CHECKING:
    from resources.outbound.client import OutboundClient

STORED = "store:"
"""Begins a reference to an uploaded picture; the object's key follows."""


class RequestInputs:
    """Where the input pictures of requests come from. Safe for threads."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store

    def of(self, request: GenerationRequest, is_wanted: Callable[[], bool]) -> tuple[InputPicture | None, ...]:
        """Image, mask and control picture, as far as the request names them; fetched within one time limit.

        Args:
            is_wanted: asked again and again; when it says no, nothing more is fetched.
        Raises:
            OutboundError: if one cannot be fetched; NotWantedError if it is not wanted any more.
            PictureError: if one is not in the store, is no picture, or they have too many pixels.
            StoreError: if the store fails.
        """
        deadline = Deadline(self._settings.gateway.fetch_timeout_s, is_wanted)
        references = (request.image_url, request.mask_url, request.control_image_url)
        most = self._settings.pictures.max_input_pixels
        pictures = tuple(input_picture(self._read(one, deadline), most) if one else None for one in references)
        check_together(pictures, most)
        return pictures

    def _read(self, reference: str, deadline: Deadline) -> bytes:
        if not reference.startswith(STORED):
            return self._client.fetch_picture(reference, deadline)
        try:
            return self._store.get(reference.removeprefix(STORED))
        except (ObjectNotFoundError, InvalidKeyError) as exc:
            raise PictureError("the uploaded picture is no longer in the store. Upload it again.") from exc

    @cached_property
    def _client(self) -> "OutboundClient":
        return open_outbound(self._settings)
