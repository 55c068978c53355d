"""A catalog as its reviewers see it: the rows of its finished pictures, with their files and thumbnails."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from io_managers.image_set import ImageSet, ManifestRow, decode_manifest, manifest_key
from ops.review.verdicts import NOTHING_SAID, CatalogVerdicts, Standing, State
from resources.dagster_names import THUMBNAILS, WATERMARKED_IMAGES
from resources.object_store import ObjectStore

_FIELDS = ("row_id", "text", "model", "release", "width_px", "height_px", "format", "size_bytes", "status")
_MORE = ("error", "recipe_digest", "seed", "spread", "carry")


@dataclass(frozen=True)
class CatalogView:
    """The finished pictures of a catalog, as they were last made.

    Attributes:
        version: changes when they are made anew; "" before they were made at all.
        made_at_s: when; 0 if never.
        rows, thumbnails: in catalog order, one each.
    """

    name: str
    version: str = ""
    made_at_s: float = 0.0
    rows: Sequence[ManifestRow] = ()
    thumbnails: Sequence[ManifestRow] = ()

    def table(self) -> list[list[object]]:
        """A list of values for each row: those of `COLUMNS`, in this order."""
        return [
            [*(getattr(row, name) for name in (*_FIELDS, *_MORE)), _file(row), _file(thumbnail)]
            for row, thumbnail in zip(self.rows, self.thumbnails, strict=True)
        ]

    def files(self) -> Mapping[str, str]:
        """Object keys of all pictures and thumbnails, by the last part of the key."""
        return {_file(row): row.key for row in (*self.rows, *self.thumbnails) if row.key}

    def counts(self, standings: Mapping[str, Standing]) -> dict[str, int]:
        """How many rows there are, how many have a picture, and how many pictures have which state."""
        pictures = [row for row in self.rows if row.status.has_picture]
        states = Counter(standings.get(row.recipe_digest, NOTHING_SAID).state for row in pictures)
        stars = sum(standings.get(row.recipe_digest, NOTHING_SAID).star for row in pictures)
        counts = {"rows": len(self.rows), "pictures": len(pictures), "failed": len(self.rows) - len(pictures)}
        return counts | {str(state): states[state] for state in State} | {"starred": stars}


COLUMNS = (*_FIELDS, *_MORE, "file", "thumbnail")


class CatalogViews:
    """The views of many catalogs, each read again when its pictures have been made anew. Safe for many threads."""

    def __init__(self, store: ObjectStore, *, most: int = 64) -> None:
        self.store = store
        self._most = most
        self._lock = threading.Lock()
        self._views: dict[str, CatalogView] = {}
        self._verdicts: dict[str, CatalogVerdicts] = {}
        self._files: dict[str, tuple[str, Mapping[str, str]]] = {}

    def get(self, catalog: str) -> CatalogView:
        """How a catalog is now."""
        version, made_at_s = self._made(catalog)
        if not version:
            return CatalogView(catalog)
        known = self._views.get(catalog)
        if known is None or known.version != version:
            known = self._read(catalog, version, made_at_s)
            with self._lock:
                _make_room(self._views, self._most)
                self._views[catalog] = known
        return known

    def version(self, catalog: str) -> str:
        """That of the view, without reading it."""
        return self._made(catalog)[0]

    def files(self, catalog: str) -> Mapping[str, str]:
        """The files of a catalog as it was when somebody last looked at it, by name."""
        view = self.known(catalog)
        if self._files.get(catalog, ("", {}))[0] != view.version:
            with self._lock:
                _make_room(self._files, self._most)
                self._files[catalog] = view.version, view.files()
        return self._files[catalog][1] if catalog in self._files else view.files()

    def known(self, catalog: str) -> CatalogView:
        """How a catalog was when somebody last looked, without asking the store."""
        return self._views.get(catalog) or self.get(catalog)

    def verdicts(self, catalog: str) -> CatalogVerdicts:
        """What was said of a catalog's pictures."""
        with self._lock:
            if catalog not in self._verdicts:
                _make_room(self._verdicts, self._most)
                self._verdicts[catalog] = CatalogVerdicts(self.store, catalog)
            return self._verdicts[catalog]

    def _made(self, catalog: str) -> tuple[str, float]:
        """Version and time of a view."""
        made = self.store.stat(manifest_key(WATERMARKED_IMAGES, catalog))
        thumbnails = self.store.stat(manifest_key(THUMBNAILS, catalog))
        return (f"{made.etag}-{thumbnails.etag}", made.written_s) if made and thumbnails else ("", 0.0)

    def _read(self, catalog: str, version: str, made_at_s: float) -> CatalogView:
        def rows(asset: str) -> list[ManifestRow]:
            manifest = decode_manifest(self.store.get(manifest_key(asset, catalog)))
            return list(ImageSet(catalog, manifest, self.store).rows())

        made = rows(WATERMARKED_IMAGES)
        # A run may be between the two: a row whose thumbnail is still to be made has none.
        thumbnails = {row.row_id: row for row in rows(THUMBNAILS)}
        beside = [thumbnails.get(row.row_id, ManifestRow(row.row_id, row.status)) for row in made]
        return CatalogView(catalog, version, made_at_s, made, beside)


def _make_room(kept: dict[str, Any], most: int) -> None:
    """Let the oldest go until there is room for one more."""
    while len(kept) >= most:
        kept.pop(next(iter(kept)))


def _file(row: ManifestRow) -> str:
    return row.key.rpartition("/")[2]
