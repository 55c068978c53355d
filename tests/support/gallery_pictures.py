"""Pictures of galleries that differ a little from others."""

from dataclasses import fields, replace

from io_managers.image_set import ManifestRow
from ops.gallery import GalleryPicture

_OF_ROW = {field.name for field in fields(ManifestRow)}


def changed(picture: GalleryPicture, **changes: object) -> GalleryPicture:
    """The picture with these fields, of its row or of its own."""
    row = {name: value for name, value in changes.items() if name in _OF_ROW}
    own = {name: value for name, value in changes.items() if name not in _OF_ROW}
    return replace(picture, row=replace(picture.row, **row), **own)  # type: ignore[arg-type]
