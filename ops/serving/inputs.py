"""Input pictures of requests: fetched by URL, or uploaded to the object store before."""

import hashlib
from functools import cached_property, partial
from typing import TYPE_CHECKING

from configs.settings import Settings
from models.errors import PictureError
from models.image import InputPicture, open_picture
from models.request import GenerationRequest
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore
from resources.outbound import open_outbound

if TYPE_CHECKING:
    from resources.outbound.client import OutboundClient

STORED = "store:"
"""Begins a reference to an uploaded picture; the object's key follows."""


class RequestInputs:
    """Where the input pictures of requests come from. Safe for threads."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store

    def of(self, request: GenerationRequest) -> tuple[InputPicture | None, InputPicture | None, InputPicture | None]:
        """Image, mask and control picture, as far as the request names them.

        Raises:
            OutboundError: if one cannot be fetched.
            PictureError: if one is not in the store.
            StoreError: if the store fails.
        """
        return self._find(request.image_url), self._find(request.mask_url), self._find(request.control_image_url)

    def _find(self, reference: str | None) -> InputPicture | None:
        if not reference:
            return None
        data = self._read(reference)
        load = partial(open_picture, data, self._settings.pictures.max_input_pixels)
        return InputPicture(hashlib.sha256(data).hexdigest(), load)

    def _read(self, reference: str) -> bytes:
        if not reference.startswith(STORED):
            return self._client.fetch_picture(reference)
        try:
            return self._store.get(reference.removeprefix(STORED))
        except (ObjectNotFoundError, InvalidKeyError) as exc:
            raise PictureError("the uploaded picture is no longer in the store. Upload it again.") from exc

    @cached_property
    def _client(self) -> "OutboundClient":
        return open_outbound(self._settings)
