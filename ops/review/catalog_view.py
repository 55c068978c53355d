"""A catalog as its reviewers see it: the rows of its finished pictures, with their files and thumbnails."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import PurePosixPath

from io_managers.image_set import (
    SUPERSEDED,
    ImageSet,
    ManifestRow,
    decode_manifest,
    manifest_key,
    superseded_key,
)
from ops.editions import edition_folder, made_edition
from ops.review.verdicts import NOTHING_SAID, CatalogVerdicts, Standing, State
from ops.scores.kept import Scores, kept_scores, scores_key, told
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
        scores: by recipe and scorer.
    """

    name: str
    version: str = ""
    made_at_s: float = 0.0
    rows: Sequence[ManifestRow] = ()
    thumbnails: Sequence[ManifestRow] = ()
    scores: Mapping[str, Scores] = field(default_factory=dict)

    def table(self) -> list[list[object]]:
        """A list of values for each row: those of `COLUMNS`, in this order."""
        return [
            [
                *(getattr(row, name) for name in (*_FIELDS, *_MORE)),
                self.scores.get(row.recipe_digest, {}),
                _file(row),
                _file(thumbnail),
            ]
            for row, thumbnail in zip(self.rows, self.thumbnails, strict=True)
        ]

    @cached_property
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


COLUMNS = (*_FIELDS, *_MORE, "scores", "file", "thumbnail")


NOW = "now"
"""The version of a catalog that its last run left; others are `edition-N`, and `at-T`: what was replaced at T (ns)."""
_MOST_VIEWS, _MOST_REPLACED, _MOST_DIGESTS = 64, 20, 1_000
_VERSION = re.compile(r"now|edition-\d{1,9}|at-\d{1,20}", re.ASCII)


class CatalogViews:
    """The views of many catalogs, each read again when its pictures have been made anew. Safe for many threads.

    Attributes:
        verdicts: what was said of a catalog's pictures, by its name.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.verdicts = lru_cache(_MOST_VIEWS)(partial(CatalogVerdicts, store))
        self._recipes = lru_cache(_MOST_DIGESTS)(partial(_recipes, store))
        self._lock = threading.Lock()
        self._views: dict[tuple[str, str], CatalogView] = {}

    def get(self, catalog: str, of: str = NOW) -> CatalogView:
        """How a catalog is now, or was in an earlier version of it; an empty view if there is none."""
        keys = self._keys(catalog, of)
        version, made_at_s = self._made(catalog, *keys)
        if not version:
            return CatalogView(catalog)
        known = self._views.get((catalog, of))
        if known is None or known.version != version:
            known = self._read(catalog, keys, version, made_at_s)
            with self._lock:
                while len(self._views) >= _MOST_VIEWS:
                    self._views.pop(next(iter(self._views)))
                self._views[catalog, of] = known
        return known

    def version(self, catalog: str) -> str:
        """That of the view, without reading it."""
        return self._made(catalog, *self._keys(catalog, NOW))[0]

    def versions(self, catalog: str) -> Iterator[tuple[str, float]]:
        """(name, when it was made, or replaced) of each version that is kept, the latest first.

        What an edition holds is not told again as what was replaced.
        """
        editions = [f"edition-{number}" for number in reversed(made_edition(self.store, catalog).kept)]
        replaced = [f"at-{PurePosixPath(key).stem}" for key in self._superseded(WATERMARKED_IMAGES, catalog)]
        told = set[str]()
        for of in (NOW, *editions, *replaced[: -_MOST_REPLACED - 1 : -1]):
            found = self.store.stat(self._keys(catalog, of)[0])
            if found and (recipes := self._recipes(found.key, found.etag)) not in told:
                told.add(recipes)
                yield of, found.written_s

    def known(self, catalog: str, of: str = NOW) -> CatalogView:
        """How a catalog was when somebody last looked, without asking the store."""
        return self._views.get((catalog, of)) or self.get(catalog, of)

    def _keys(self, catalog: str, of: str) -> tuple[str, str]:
        """The manifests of the pictures and of the thumbnails of a version; two empty ones if it cannot be."""
        kind, _, number = of.partition("-")
        if not _VERSION.fullmatch(of):
            return "", ""
        if kind == NOW:
            return manifest_key(WATERMARKED_IMAGES, catalog), manifest_key(THUMBNAILS, catalog)
        if kind == "edition":
            folder = edition_folder(catalog, int(number))
            return f"{folder}{WATERMARKED_IMAGES}.parquet", f"{folder}{THUMBNAILS}.parquet"
        # The run that replaced the pictures replaced their thumbnails a little later.
        key = superseded_key(WATERMARKED_IMAGES, catalog, int(number))
        beside = superseded_key(THUMBNAILS, catalog, int(number))
        later = (one for one in self._superseded(THUMBNAILS, catalog) if one > beside)
        return key, next(later, manifest_key(THUMBNAILS, catalog))

    def _superseded(self, asset: str, catalog: str) -> list[str]:
        return [found.key for found in self.store.list(f"{SUPERSEDED}{asset}/{catalog}/")]

    def _made(self, catalog: str, pictures: str, thumbnails: str) -> tuple[str, float]:
        """Version and time of a view."""
        made = self.store.stat(pictures) if pictures else None
        small = self.store.stat(thumbnails) if made else None
        if made is None or small is None:
            return "", 0.0
        scores = self.store.stat(scores_key(catalog))
        return f"{made.etag}-{small.etag}{f'-{scores.etag}' if scores else ''}", made.written_s

    def _read(self, catalog: str, keys: tuple[str, str], version: str, made_at_s: float) -> CatalogView:
        made, small = (list(ImageSet(catalog, decode_manifest(self.store.get(key)), self.store).rows()) for key in keys)
        # A run may be between the two: a row whose thumbnail is still to be made has none, not its last picture's.
        thumbnails = {row.row_id: row for row in small}
        found = ((row, thumbnails.get(row.row_id)) for row in made)
        beside = [one if one and _shows(one, row) else ManifestRow(row.row_id, row.status) for row, one in found]
        return CatalogView(catalog, version, made_at_s, made, beside, told(kept_scores(self.store, catalog)))


def _shows(thumbnail: ManifestRow, row: ManifestRow) -> bool:
    """Whether it is of this picture: its recipe is the picture's and a step more."""
    small, whole = json.loads(thumbnail.recipe or "{}"), json.loads(row.recipe or "{}")
    steps = whole.get("post", [])
    return bool({**small, "post": small.get("post", [])[: len(steps)]} == {**whole, "post": steps})


def _recipes(store: ObjectStore, manifest: str, etag: str) -> str:
    """A digest of the recipes in a manifest, which its etag tells from later ones: what is equal in equal versions."""
    recipes = decode_manifest(store.get(manifest)).column("recipe_digest").to_pylist()
    return hashlib.sha256("\n".join(map(str, recipes)).encode()).hexdigest()


def _file(row: ManifestRow) -> str:
    return row.key.rpartition("/")[2]
