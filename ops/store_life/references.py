"""What manifests, kept editions and catalogs refer to."""

import io
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import chain

from foundation.error_text import cause_text
from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import MANIFESTS, SUPERSEDED
from ops.catalog.columns import PICTURE_COLUMNS, named_pictures
from ops.catalog.registered import RegisteredCatalogs
from ops.editions import FOLDER as EDITIONS
from ops.store_life.retention import Retention
from resources.object_store import ObjectNotFoundError, ObjectStore, StoredObject

TABLES = "tables/prompt_catalog/"
# Manifests first: a run copies one elsewhere before it replaces it, so that whoever reads in this order misses none.
_SOURCES = (MANIFESTS, TABLES, SUPERSEDED, EDITIONS)


class UnreadableManifestError(ImageGenXError):
    """A manifest or table is damaged, so that nobody knows what it refers to."""


class References:
    """The keys that the store's manifests and tables name, and those of `others`; they only ever become more.

    Args:
        counts: whether a manifest or table still protects what it names.
        more: tells further keys, before manifests are looked at.
    """

    def __init__(
        self,
        store: ObjectStore,
        counts: Callable[[StoredObject], bool],
        others: Iterable[str] = (),
        more: Callable[[], Set[str]] = frozenset,
    ) -> None:
        self.keys = set(others)
        self._store = store
        self._counts = counts
        self._more = more
        self._read: dict[str, str] = {}

    def refresh(self) -> None:
        """Read every manifest and table that is new or has changed since the last time.

        Raises:
            UnreadableManifestError: if one cannot be read; then nothing may be removed.
        """
        self.keys |= self._more()
        for prefix in _SOURCES:
            changed = (found for found in self._store.list(prefix) if self._is_news(found))
            for found, keys in map_ahead(lambda one: keys_of(self._store, one.key), changed):
                self.keys |= keys
                self._read[found.key] = found.etag

    def _is_news(self, found: StoredObject) -> bool:
        return found.key.endswith(".parquet") and self._read.get(found.key) != found.etag and self._counts(found)


def keys_of(store: ObjectStore, place: str) -> set[str]:
    """The keys in a stored manifest or table. Raises UnreadableManifestError if it is damaged."""
    try:
        return set(named_keys(place, store.get(place)))
    except ObjectNotFoundError:  # replaced or removed since it was listed
        return set()


def named_keys(place: str, data: bytes) -> Iterator[str]:
    """The keys in a manifest or in a catalog's table. Raises UnreadableManifestError if it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        columns = [name for name in file.schema_arrow.names if name in ("key", *PICTURE_COLUMNS)]
        for batch in file.iter_batches(columns=columns, use_threads=False):
            for name, column in zip(columns, batch.columns, strict=True):
                for cell in map(str, filter(None, column.to_pylist())):
                    yield from named_pictures(name, cell) if name == "controls" else [cell]
    except (pa.ArrowException, OSError) as exc:
        raise UnreadableManifestError(
            f"'{place}' cannot be read: {cause_text(exc)}. Run `imagegenx store verify --heal`, "
            "then materialize that catalog again."
        ) from exc


def keys_of_catalogs(catalogs: RegisteredCatalogs, retention: Retention) -> set[str]:
    """What registered catalogs are made of and name, and those that were retired not long ago."""
    kept = chain(catalogs.all(), catalogs.retired(since_s=retention.retired_before_s))
    return {key for registered in kept for key in registered.keys}
