"""Generation: catalog rows become recipes, and the engine paints those whose picture is not stored yet."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from io_managers.image_set import FailedPicture, ImageStream, KeptPicture, NewPicture, Picture, Status, picture_key
from io_managers.settling import is_outage, recipe_row
from models.engine import Engine, GenerationJob
from models.errors import ImageGenXError
from models.image import FailedImage, GeneratedImage, InputPicture
from models.recipe import Recipe, plan_recipe, row_seed
from models.registry import ModelRegistry
from models.request import GenerationRequest, ImageFormat
from ops.catalog import row_request
from ops.input_pictures import InputPictures
from ops.map_ahead import map_ahead
from ops.stages import generated_format
from resources.object_store import ObjectStore, StoredObject
from resources.progress import report_step

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Generator:
    """What generation needs: the engine with its models, and the store that remembers pictures.

    Args:
        quality: of the encoder, 1..100, for pictures that no later stage changes.
    """

    engine: Engine
    registry: ModelRegistry
    store: ObjectStore
    quality: int


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with its recipe, or with the reason why it has none."""

    row_id: str
    request: GenerationRequest
    recipe: Recipe | None = None
    inputs: tuple[InputPicture | None, ...] = ()
    error: str = ""

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
    return ImageStream(catalog, table["id"].tolist(), _Painting(generator).pictures(planned))


def plan_row(row_id: str, request: GenerationRequest, generator: Generator, inputs: InputPictures) -> PlannedRow:
    """Settle everything that decides a row's pixels. Raises StoreError if an input picture's store fails."""
    seed = request.params.seed
    try:
        pictures = tuple(map(inputs.find, (request.image_url, request.mask_url, request.control_image_url)))
        image, mask, control = pictures
        recipe = plan_recipe(
            request,
            registry=generator.registry,
            engine_kind=generator.engine.kind(request.model_type),
            seed=row_seed(row_id) if seed is None else seed,
            image=image,
            mask=mask,
            control=control,
        )
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return PlannedRow(row_id, request, error=str(exc))
    return PlannedRow(row_id, request, recipe, pictures)


def _requests(table: "pd.DataFrame") -> Iterator[tuple[str, GenerationRequest]]:
    columns = list(table.columns)
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(columns, values, strict=True))
        yield str(row["id"]), row_request(row)


class _Painting:
    """One pass over planned rows; every row comes out once, stored ones as soon as they are found."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._ready: deque[Picture] = deque()
        self._painting: dict[str, PlannedRow] = {}
        self._claimed: set[str] = set()
        self._errors: dict[str, str] = {}
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
            if row.recipe is None:
                self._ready.append(_failed(row, row.error))
            elif stored:
                self._ready.append(_kept(row, row.recipe, stored.size_bytes))
            elif row.key in self._claimed:
                self._twins.append(row)
            else:
                self._claimed.add(row.key)
                self._painting[row.row_id] = row
                yield GenerationJob(row.row_id, row.recipe, *row.inputs)

    def _stored_file(self, row: PlannedRow) -> StoredObject | None:
        return self._generator.store.stat(row.key) if row.key else None

    def _painted(self, outcome: GeneratedImage | FailedImage) -> Picture:
        row = self._painting.pop(outcome.id)
        if isinstance(outcome, FailedImage):
            self._errors[row.key] = outcome.error
            return _failed(row, outcome.error)
        assert row.recipe
        return NewPicture(
            row.row_id,
            outcome.pixels,
            row.recipe,
            row.format,
            self._generator.quality,
            row.post_process,
            sum(outcome.seconds.values()),
        )

    def _like_its_twin(self, row: PlannedRow) -> Picture:
        assert row.recipe
        return _failed(row, self._errors[row.key]) if row.key in self._errors else _kept(row, row.recipe, 0)


def _kept(row: PlannedRow, recipe: Recipe, size_bytes: int) -> KeptPicture:
    kept = recipe_row(row.row_id, Status.REUSED, recipe, row.format, row.post_process)
    return KeptPicture(replace(kept, size_bytes=size_bytes))


def _failed(row: PlannedRow, error: str) -> FailedPicture:
    return FailedPicture(row.row_id, error, row.request.text, row.request.model_type, row.recipe, row.post_process)
