"""Generation: catalog rows become recipes, and jobs for those whose picture is not stored yet."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import (
    MAX_STORED_PIXELS,
    ImageStream,
    ManifestRow,
    Status,
    picture_key,
)
from io_managers.reuse import Reuse
from io_managers.settling import failed_row, is_outage, recipe_row, with_recipe
from models.errors import RejectedError
from models.image import check_together, open_stored_picture
from models.picture_job import PictureJob
from models.planning import plan_recipe, row_seed
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import GenerationRequest, ImageFormat
from models.resolution import Resolution
from ops.catalog.reading import CARRY, table_requests
from ops.input_pictures import InputPictures
from ops.making.maker import PictureMaker, Wanted, made_rows
from ops.moderation import Moderation, PictureRejectedError
from ops.stages import generated_format
from resources.object_store import StoredObject

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with its recipe, or with the reason (`error`) why it is not painted, and the `status` it then has.

    `carry` travels along; see `ManifestRow`.
    """

    row_id: str
    request: GenerationRequest
    recipe: Recipe | None = None
    error: str = ""
    status: Status = Status.FAILED
    carry: str = ""

    @property
    def format(self) -> ImageFormat:
        """The file format to store."""
        return generated_format(self.request.params.post_process)

    @property
    def key(self) -> str:
        """The object key of the picture; "" if there is no recipe, or none that says yet how it is computed."""
        return picture_key(self.recipe, self.format) if self.recipe and self.recipe.engine else ""

    def row(self) -> ManifestRow:
        """The manifest's row, without a picture."""
        request = self.request
        post_process = request.params.post_process.model_dump_json()
        row = ManifestRow(
            self.row_id,
            self.status,
            text=request.text,
            model=request.model_type,
            post_process=post_process,
            carry=self.carry,
        )
        return with_recipe(row, self.recipe) if self.recipe else row

    def failed(self, error: str, status: Status) -> ManifestRow:
        """The row, not to be painted."""
        return failed_row(self.row(), error, status)


def plan_row(
    row_id: str,
    request: GenerationRequest,
    inputs: InputPictures,
    registry: ModelRegistry,
    kind: Callable[[str, Resolution], str],
    moderation: Moderation | None = None,
) -> PlannedRow:
    """Settle everything that decides a row's pixels. Raises StoreError if an input picture's store fails.

    Args:
        kind: see `PictureMaker.kind`.
        moderation: whose blocked words the row may not have.
    """
    seed = request.params.seed
    try:
        pictures = tuple(map(inputs.find, request.inputs))
        check_together(pictures, inputs.max_pixels)
        image, mask, *controls = pictures
        recipe = plan_recipe(
            request,
            registry=registry,
            engine_kind=kind(request.model_type, request.params.resolution),
            seed=row_seed(row_id) if seed is None else seed,
            image=image,
            mask=mask,
            controls=[picture for picture in controls if picture],
        )
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return PlannedRow(row_id, request, error=str(exc))
    try:
        if moderation:
            moderation.blocklist.check(request)
    except RejectedError as exc:
        return PlannedRow(row_id, request, recipe, error=str(exc), status=Status.REJECTED)
    return PlannedRow(row_id, request, recipe)


@dataclass(frozen=True)
class Generator:
    """Makes the pictures of a catalog's rows: those that are stored are kept, the others go to the maker.

    Args:
        inputs: the input pictures that rows name.
        reuse: how stored pictures are found.
        quality: of the encoder, 1..100, for pictures that no later stage changes.
        moderation: who must allow every picture; None allows all.
    """

    maker: PictureMaker
    registry: ModelRegistry
    inputs: InputPictures
    reuse: Reuse
    quality: int
    moderation: Moderation | None = None

    def images(self, catalog: str, table: "pd.DataFrame") -> ImageStream:
        """The pictures of a table, columns as in INTERFACES.md §10, made as the stream is pulled.

        A row that cannot be made fails alone.
        """
        carried = table[CARRY] if CARRY in table else [""] * len(table)
        requests = zip(table_requests(table), carried, strict=True)
        planned = (replace(self._plan(*row), carry=str(carry)) for row, carry in requests)
        rows = made_rows(self._rows(planned), self.maker)
        return ImageStream(catalog, table["id"].tolist(), rows, self.reuse.last)

    def _plan(self, row_id: str, request: GenerationRequest) -> PlannedRow:
        return plan_row(row_id, request, self.inputs, self.registry, self.maker.kind, self.moderation)

    def _rows(self, planned: Iterable[PlannedRow]) -> Iterator[ManifestRow | Wanted]:
        """Each row, done with or wanted."""
        for row, stored in map_ahead(self._stored_file, planned):
            if row.recipe is None or row.error:
                yield self._not_painted(row, row.recipe, stored)
            elif isinstance(stored, str):
                yield row.failed(stored, Status.REJECTED)
            elif stored:
                yield self._reviewed(row, row.recipe, stored.size_bytes)
            else:
                yield self._wanted(row, row.recipe)

    def _stored_file(self, row: PlannedRow) -> StoredObject | str | None:
        """What is stored for a row, or why what was painted for it before was rejected."""
        if not row.key:
            return None
        stored = self.reuse.find(row.key)
        return stored or (self.moderation.known_rejection(row.key) if self.moderation else None) or None

    def _wanted(self, row: PlannedRow, recipe: Recipe) -> ManifestRow | Wanted:
        try:
            image, mask, *controls = map(self.inputs.stored_key, row.request.inputs)
        except ImageGenXError as exc:
            if is_outage(exc):
                raise
            return row.failed(str(exc), Status.FAILED)
        job = PictureJob(
            recipe=recipe,
            format=row.format,
            quality=self.quality,
            image_key=image,
            mask_key=mask,
            control_key=controls[0] if len(controls) == 1 else "",
            control_keys=tuple(controls) if len(controls) > 1 else (),
            moderate=self.moderation is not None,
            made_after_s=self.reuse.made_after_s,
        )
        return Wanted(row.row(), job)

    def _reviewed(self, row: PlannedRow, recipe: Recipe, size_bytes: int) -> ManifestRow:
        """A stored picture, once the moderator has seen it."""
        kept = recipe_row(row.row(), Status.REUSED, recipe, row.format)
        kept = replace(kept, size_bytes=size_bytes)
        if self.moderation is None:
            return kept
        if row.key in self._moderated:
            return replace(kept, moderated_by=self.moderation.stamp, verdict=self._moderated[row.key])
        try:
            picture = open_stored_picture(self.reuse.store.get(row.key), MAX_STORED_PIXELS)
            allowed = self.moderation.review(row.key, picture, recipe)
        except ImageGenXError as exc:
            if is_outage(exc):
                raise
            rejected = isinstance(exc, PictureRejectedError)
            return row.failed(str(exc), Status.REJECTED if rejected else Status.FAILED)
        return replace(kept, moderated_by=allowed.by, verdict=allowed.verdict)

    def _not_painted(self, row: PlannedRow, recipe: Recipe | None, stored: StoredObject | str | None) -> ManifestRow:
        """A row that is not painted; what was stored for it before its words were blocked goes to quarantine."""
        if recipe and isinstance(stored, StoredObject):
            self._reviewed(row, recipe, stored.size_bytes)
        return row.failed(row.error, row.status)

    @cached_property
    def _moderated(self) -> dict[str, str]:
        """Verdicts on the pictures that the moderator, in its present version, allowed in the last run, by key."""
        if self.moderation is None or not (last := self.reuse.last()):
            return {}
        return {row.key: row.verdict for row in last.rows() if row.moderated_by == self.moderation.stamp}
