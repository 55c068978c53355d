"""Generation: catalog rows become recipes, and the engine paints those whose picture is not stored yet."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from io_managers.image_set import (
    MAX_STORED_PIXELS,
    FailedPicture,
    ImageStream,
    KeptPicture,
    NewPicture,
    Picture,
    Status,
    last_image_set,
    picture_key,
)
from io_managers.reuse import Reuse
from io_managers.settling import is_outage, recipe_row
from models.engine import Engine, GenerationJob
from models.errors import ImageGenXError, RejectedError
from models.image import FailedImage, GeneratedImage, InputPicture, check_together, open_stored_picture
from models.planning import plan_recipe, row_seed
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import GenerationRequest, ImageFormat
from ops.catalog import row_request
from ops.input_pictures import InputPictures
from ops.map_ahead import map_ahead
from ops.moderation import Moderation, ModerationError, PictureRejectedError
from ops.stages import generated_format
from resources.object_store import ObjectStore, StoredObject
from resources.progress import report_step

if TYPE_CHECKING:
    import pandas as pd

ASSET = "generated_images"
"""The asset that is made of these pictures."""


@dataclass(frozen=True)
class Generator:
    """What generation needs: the engine with its models, and the store that remembers pictures.

    Args:
        quality: of the encoder, 1..100, for pictures that no later stage changes.
        moderation: who must allow every picture; None allows all.
        reuse: how stored pictures are found; None simply looks.
    """

    engine: Engine
    registry: ModelRegistry
    store: ObjectStore
    quality: int
    moderation: Moderation | None = None
    reuse: Reuse | None = None

    def find(self, key: str) -> StoredObject | None:
        """The stored picture that the run may reuse."""
        return self.reuse.find(key) if self.reuse else self.store.stat(key)


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with its recipe, or with the reason (`error`) why it is not painted, and the `status` it then has."""

    row_id: str
    request: GenerationRequest
    recipe: Recipe | None = None
    inputs: tuple[InputPicture | None, ...] = ()
    error: str = ""
    status: Status = Status.FAILED

    @property
    def format(self) -> ImageFormat:
        """The file format to store."""
        return generated_format(self.request.params.post_process)

    @property
    def post_process(self) -> str:
        """What later stages do, as JSON."""
        return self.request.params.post_process.model_dump_json()

    @property
    def key(self) -> str:
        """The object key of the picture; "" for a row without a recipe."""
        return picture_key(self.recipe, self.format) if self.recipe else ""


def generate_images(catalog: str, table: "pd.DataFrame", generator: Generator, inputs: InputPictures) -> ImageStream:
    """Paint a catalog: rows whose picture is stored are kept, the others go to the engine.

    Args:
        table: the catalog's rows, columns as in INTERFACES.md §10.
    Returns:
        a stream that paints as it is pulled; a row that cannot be painted fails alone.
    """
    planned = (plan_row(row_id, request, generator, inputs) for row_id, request in _requests(table))
    moderated = _moderated(generator, catalog)
    return ImageStream(catalog, table["id"].tolist(), _Painting(generator, moderated).pictures(planned))


def plan_row(row_id: str, request: GenerationRequest, generator: Generator, inputs: InputPictures) -> PlannedRow:
    """Settle everything that decides a row's pixels. Raises StoreError if an input picture's store fails."""
    seed = request.params.seed
    try:
        pictures = tuple(map(inputs.find, (request.image_url, request.mask_url, request.control_image_url)))
        check_together(pictures, inputs.max_pixels)
        image, mask, control = pictures
        recipe = plan_recipe(
            request,
            registry=generator.registry,
            engine_kind=generator.engine.kind(request.model_type, request.params.resolution),
            seed=row_seed(row_id) if seed is None else seed,
            image=image,
            mask=mask,
            control=control,
        )
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return PlannedRow(row_id, request, error=str(exc))
    try:
        if generator.moderation:
            generator.moderation.blocklist.check(request)
    except RejectedError as exc:
        return PlannedRow(row_id, request, recipe, error=str(exc), status=Status.REJECTED)
    return PlannedRow(row_id, request, recipe, pictures)


def _requests(table: "pd.DataFrame") -> Iterator[tuple[str, GenerationRequest]]:
    columns = list(table.columns)
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(columns, values, strict=True))
        yield str(row["id"]), row_request(row)


class _Painting:
    """One pass over planned rows; every row comes out once, stored ones as soon as they are found."""

    def __init__(self, generator: Generator, moderated: frozenset[str]) -> None:
        self._generator = generator
        self._moderated = moderated
        self._ready: deque[Picture] = deque()
        self._painting: dict[str, PlannedRow] = {}
        self._claimed: set[str] = set()
        self._errors: dict[str, tuple[str, Status]] = {}
        self._twins: list[PlannedRow] = []

    def pictures(self, planned: Iterable[PlannedRow]) -> Iterator[Picture]:
        """The outcome of each row, in the order of completion."""
        for outcome in self._generator.engine.generate(self._jobs(planned), report_step):
            yield from self._take_ready()
            yield self._painted(outcome)
        yield from self._take_ready()
        for twin in self._twins:
            yield self._like_its_twin(twin)

    def _take_ready(self) -> Iterator[Picture]:
        while self._ready:
            yield self._ready.popleft()

    def _jobs(self, planned: Iterable[PlannedRow]) -> Iterator[GenerationJob]:
        """The rows that must be painted; what becomes of the others is put aside."""
        for row, stored in map_ahead(self._stored_file, planned):
            if row.recipe is None or row.error:
                self._ready.append(self._not_painted(row, row.recipe, stored))
            elif isinstance(stored, str):
                self._ready.append(self._refused(row, stored, Status.REJECTED))
            elif stored:
                self._ready.append(self._reviewed(row, row.recipe, stored.size_bytes))
            elif row.key in self._claimed:
                self._twins.append(row)
            else:
                self._claimed.add(row.key)
                self._painting[row.row_id] = row
                yield GenerationJob(row.row_id, row.recipe, *row.inputs)

    def _stored_file(self, row: PlannedRow) -> StoredObject | str | None:
        """What is stored for a row, or why what was painted for it before was rejected."""
        if not row.key:
            return None
        moderation = self._generator.moderation
        stored = self._generator.find(row.key)
        return stored or (moderation.known_rejection(row.key) if moderation else None) or None

    def _painted(self, outcome: GeneratedImage | FailedImage) -> Picture:
        row = self._painting.pop(outcome.id)
        if isinstance(outcome, FailedImage):
            return self._refused(row, outcome.error)
        assert row.recipe
        moderation = self._generator.moderation
        try:
            if moderation:
                moderation.review(row.key, outcome.pixels, row.recipe)
        except (ModerationError, PictureRejectedError) as exc:
            return self._refused(row, str(exc), _status_of(exc))
        return NewPicture(
            row.row_id,
            outcome.pixels,
            row.recipe,
            row.format,
            self._generator.quality,
            row.post_process,
            sum(outcome.seconds.values()),
            moderated_by=moderation.stamp if moderation else "",
        )

    def _reviewed(self, row: PlannedRow, recipe: Recipe, size_bytes: int) -> Picture:
        """A stored picture, once the moderator has seen it."""
        moderation = self._generator.moderation
        if moderation is None:
            return _kept(row, recipe, size_bytes)
        try:
            if row.key not in self._moderated:
                picture = open_stored_picture(self._generator.store.get(row.key), MAX_STORED_PIXELS)
                moderation.review(row.key, picture, recipe)
        except ImageGenXError as exc:
            if is_outage(exc):
                raise
            return self._refused(row, str(exc), _status_of(exc))
        return _kept(row, recipe, size_bytes, moderation.stamp)

    def _not_painted(self, row: PlannedRow, recipe: Recipe | None, stored: StoredObject | str | None) -> FailedPicture:
        """A row that is not painted; what was stored for it before its words were blocked goes to quarantine."""
        if recipe and isinstance(stored, StoredObject):
            self._reviewed(row, recipe, stored.size_bytes)
        return _failed(row, row.error, row.status)

    def _refused(self, row: PlannedRow, error: str, status: Status = Status.FAILED) -> FailedPicture:
        self._errors[row.key] = (error, status)
        return _failed(row, error, status)

    def _like_its_twin(self, row: PlannedRow) -> Picture:
        assert row.recipe
        if row.key in self._errors:
            return _failed(row, *self._errors[row.key])
        moderation = self._generator.moderation
        return _kept(row, row.recipe, 0, moderation.stamp if moderation else "")


def _moderated(generator: Generator, catalog: str) -> frozenset[str]:
    """Keys of the pictures that the moderator, in its present version, allowed in the catalog's last run."""
    if generator.moderation is None:
        return frozenset()
    last = generator.reuse.last() if generator.reuse else last_image_set(generator.store, ASSET, catalog)
    rows = last.rows() if last else ()
    return frozenset(row.key for row in rows if row.moderated_by == generator.moderation.stamp)


def _kept(row: PlannedRow, recipe: Recipe, size_bytes: int, moderated_by: str = "") -> KeptPicture:
    kept = recipe_row(row.row_id, Status.REUSED, recipe, row.format, row.post_process)
    return KeptPicture(replace(kept, size_bytes=size_bytes, moderated_by=moderated_by))


def _status_of(error: ImageGenXError) -> Status:
    return Status.REJECTED if isinstance(error, PictureRejectedError) else Status.FAILED


def _failed(row: PlannedRow, error: str, status: Status) -> FailedPicture:
    model = row.request.model_type
    return FailedPicture(row.row_id, error, row.request.text, model, row.recipe, row.post_process, status)
