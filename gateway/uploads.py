"""Pictures that clients upload: looked at without decoding them, then stored for the serving run."""

import hashlib
import time
from collections.abc import Mapping

from configs.settings import Settings
from gateway.errors import ServiceError, bad_field, service_errors
from models.errors import PictureError
from models.image import check_picture, transparency_of
from resources.object_store import ObjectStore

UPLOAD_SCHEME = "store:"
"""How a request names an uploaded picture; never accepted from outside."""

_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp", b"BM": "bmp", b"GIF8": "gif"}


class Uploads:
    """Checks uploaded pictures and keeps them under their digest, so that the same one is stored once a day."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._max_bytes = settings.gateway.max_upload_bytes
        self._max_pixels = settings.pictures.max_input_pixels
        self._store = store

    @service_errors()
    def keep(self, pictures: Mapping[str, bytes]) -> dict[str, str]:
        """Store pictures by request field and return the references that stand in for their URLs.

        Raises:
            ServiceError: 413 for a file too large, 422 for one that is no picture or has too many pixels.
        """
        if sum(self._check(field, data) for field, data in pictures.items()) > self._max_pixels:
            raise bad_field("", f"the pictures have more than the maximum of {self._max_pixels:,} pixels together")
        return {field: self._put(data) for field, data in pictures.items()}

    def alpha_as_mask(self, field: str, data: bytes) -> bytes:
        """A mask in the OpenAI form (transparent is painted anew) in ours (white is); others stay as they are."""
        self._check(field, data)
        try:
            return transparency_of(data, self._max_pixels) or data
        except PictureError as exc:
            raise bad_field(field, str(exc)) from exc

    def _check(self, field: str, data: bytes) -> int:
        """Its pixels."""
        if len(data) > self._max_bytes:
            raise ServiceError(413, f"{field}: {len(data):,} bytes are above the maximum of {self._max_bytes:,}.")
        try:
            return check_picture(data, self._max_pixels)
        except PictureError as exc:
            raise bad_field(field, str(exc)) from exc

    def _put(self, data: bytes) -> str:
        ending = next((ending for start, ending in _SIGNATURES.items() if data.startswith(start)), "bin")
        key = f"uploads/{_day()}/{hashlib.sha256(data).hexdigest()}.{ending}"
        if self._store.stat(key) is None:
            self._store.put(key, data, content_type="image/jpeg" if ending == "jpg" else f"image/{ending}")
        return UPLOAD_SCHEME + key


def _day() -> str:
    return time.strftime("%Y%m%d", time.gmtime())
