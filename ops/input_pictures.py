"""Input pictures of catalog rows: files beside the catalog, or objects in the store."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from io_managers.reuse import keep_all
from models.errors import PictureError
from models.image import InputPicture, check_picture, open_picture
from ops.catalog.pictures import INPUTS, CatalogFiles
from resources.object_store import InvalidKeyError, ObjectNotFoundError, ObjectStore

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class InputPictures:
    """Where the input pictures of one catalog are found.

    Args:
        files: the files that the catalog names.
        store: holds those that are no files.
        max_pixels: larger ones are refused.
        renew_after_s: age at which a picture that was put into the store is written anew, so that `store gc`, which
            removes those of ended runs, leaves it alone; see `io_managers.reuse`.
    """

    files: CatalogFiles
    store: ObjectStore
    max_pixels: int
    renew_after_s: float = 12 * 3600
    _found: dict[str, InputPicture] = field(default_factory=dict, repr=False)
    _kept: set[str] = field(default_factory=set, repr=False)

    def find(self, reference: str | None) -> InputPicture | None:
        """The picture a row names; it is decoded when the engine needs it, and not kept.

        Raises:
            PictureError: if there is none, it is no picture, or the reference leads out of the folder.
        """
        if not reference:
            return None
        if reference not in self._found:
            read = self._reader(reference)
            data = read()
            digest = hashlib.sha256(data).hexdigest()
            pixels = self._named(reference, lambda: check_picture(data, self.max_pixels))
            load = partial(self._named, reference, lambda: open_picture(_same(read(), digest), self.max_pixels))
            self._found[reference] = InputPicture(digest, load, pixels)
        return self._found[reference]

    def stored_key(self, reference: str | None) -> str:
        """Where in the store any worker finds the picture, put there once for all rows; "" for no reference.

        Raises what `find` does.
        """
        if not reference or not (picture := self.find(reference)):
            return ""
        key = f"{INPUTS}{picture.digest}"
        if picture.digest not in self._kept:
            read = partial(self._named, reference, lambda: _same(self._reader(reference)(), picture.digest))
            keep_all(self.store, {key: read}, renew_after_s=self.renew_after_s)
            self._kept.add(picture.digest)
        return key

    def _reader(self, reference: str) -> Callable[[], bytes]:
        try:
            file = self.files.find(reference)
        except ValueError as exc:
            raise PictureError(str(exc)) from exc
        return file.read if file else partial(self._object, reference)

    def _object(self, key: str) -> bytes:
        try:
            return self.store.get(key)
        except (ObjectNotFoundError, InvalidKeyError) as exc:
            rule = f"'{key[:80]}' is neither a file in the catalog's folder nor an object in the store."
            raise PictureError(rule) from exc

    def _named(self, reference: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except PictureError as exc:
            raise PictureError(f"'{reference[:80]}': {exc}") from exc


def _same(data: bytes, digest: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise PictureError("replaced since the row was planned. Run the catalog again.")
    return data
