"""Pictures that clients upload: looked at without decoding them, then stored for the serving run."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from configs.settings import Settings
from foundation.problems import Problem
from gateway.errors import ServiceError, bad_field, service_errors
from models.errors import PictureError
from models.image import check_picture, transparency_of
from models.request import STORED
from resources.object_store import ObjectStore, StoreError
from resources.queue import RequestQueue, UploadSize

_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp", b"BM": "bmp", b"GIF8": "gif"}


@dataclass(frozen=True)
class CheckedUploads:
    """The pictures of one request, which may be stored: by object key, and the references to them by request field."""

    contents: Mapping[str, bytes]
    references: Mapping[str, str]
    size: UploadSize


def together(uploads: Sequence[CheckedUploads]) -> CheckedUploads:
    """The pictures of several requests; their references are each request's own."""
    size = UploadSize(sum(one.size.bytes for one in uploads), sum(one.size.pixels for one in uploads))
    return CheckedUploads({key: data for one in uploads for key, data in one.contents.items()}, {}, size)


class Uploads:
    """Checks uploaded pictures and keeps them under their digest, so that the same one is stored once a day."""

    def __init__(self, settings: Settings, store: ObjectStore, queue: RequestQueue) -> None:
        self._max_bytes = settings.gateway.max_upload_bytes
        self._max_pixels = settings.pictures.max_input_pixels
        self._store = store
        self._queue = queue

    @service_errors()
    def checked(self, pictures: Mapping[str, bytes]) -> CheckedUploads:
        """Pictures by request field, looked at and named; nothing is stored yet.

        Raises:
            ServiceError: 413 for a file too large, 422 for one that is no picture or has too many pixels.
        """
        pixels = sum(self._check(field, data) for field, data in pictures.items())
        if pixels > self._max_pixels:
            raise bad_field("", f"the pictures have more than the maximum of {self._max_pixels:,} pixels together")
        keys = {field: _key(data) for field, data in pictures.items()}
        return CheckedUploads(
            {keys[field]: data for field, data in pictures.items()},
            {field: STORED + key for field, key in keys.items()},
            UploadSize(sum(map(len, pictures.values())), pixels),
        )

    def check(self, field: str, data: bytes) -> None:
        """Refuse a picture, looked at and not kept; ServiceError as `checked`."""
        self._check(field, data)

    @contextmanager
    def kept(self, uploads: CheckedUploads) -> Iterator[None]:
        """Store the pictures before the block; those that were not there go again if it fails.

        Calls that have a picture in common wait for each other, in whichever gateway: none removes what another needs.
        """
        if not uploads.contents:
            yield
            return
        with self._queue.alone(uploads.contents):
            added = []
            try:
                for key, data in uploads.contents.items():
                    if self._store.stat(key) is None:
                        added.append(key)
                        self._store.put(key, data, content_type=_content_type(key))
                yield
            except BaseException:
                with suppress(StoreError):
                    for key in added:
                        self._store.delete(key)
                raise

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
            rule = f"{len(data):,} bytes are above the maximum of {self._max_bytes:,}"
            raise ServiceError(413, f"{field}: {rule}.", problems=[Problem(field, rule)])
        try:
            return check_picture(data, self._max_pixels)
        except PictureError as exc:
            raise bad_field(field, str(exc)) from exc


def _key(data: bytes) -> str:
    ending = next((ending for start, ending in _SIGNATURES.items() if data.startswith(start)), "bin")
    return f"uploads/{_day()}/{hashlib.sha256(data).hexdigest()}.{ending}"


def _content_type(key: str) -> str:
    ending = key.rpartition(".")[2]
    return "image/jpeg" if ending == "jpg" else f"image/{ending}"


def _day() -> str:
    return time.strftime("%Y%m%d", time.gmtime())
