"""Marking: the one place that carries out the policy of marks, for every file that leaves."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from configs.marks_settings import MarkPolicy
from configs.settings import Settings
from models.encoding import CONTENT_TYPES, content_type_of, encode_picture, rgb_picture
from models.image import has_manifest
from models.marks.label import draw_label, label_font_digest
from models.marks.manifest import Ingredient, sign
from models.marks.signer import Credentials, credentials
from models.recipe import PostStep, Recipe
from models.request import ImageFormat
from models.statement import Statement, mark_step, statement_of
from resources.mark_records import MarkRecord, keep_record
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.marks.reading import Found, Layer

VERSION = 6
"""Of the invisible mark; another one wherever that gives other pixels."""
READ_BACK_PX = 128
"""From this shorter side on, the invisible mark must be found in a file; in a smaller one it may be."""
_STRENGTHS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.8)
_OF_SHEETS = (0.25, 0.5, 0.7, *_STRENGTHS)
"""Of sheets, whose pictures have marks of their own, and which hold many repetitions."""
MARK_PARAMS = ("policy", "producer", "prompts", "label", "version")
"""Of a mark's step."""


def marking_step(settings: Settings, policy: MarkPolicy | None = None) -> PostStep | None:
    """What the policy adds to the recipe of every picture; None if it asks for no marks."""
    marks = settings.marks
    policy = policy or marks.policy
    if policy == "off":
        return None
    label = marks.shown_label
    params: dict[str, str | bool | int] = {
        "policy": policy,
        "producer": marks.producer,
        "prompts": marks.prompts,
        "label": label,
    }
    version = {"version": VERSION} if policy == "full" else {}
    return PostStep(op="mark", params={**params, **version}, uses=label_font_digest() if label else "")


def catalog_step(settings: Settings, catalog: str) -> PostStep | None:
    """The same for a catalog's pictures."""
    return marking_step(settings, settings.marks.catalogs.get(catalog))


def user_step(settings: Settings, user: str) -> PostStep | None:
    """The same for the pictures that a user asks for."""
    return marking_step(settings, settings.marks.users.get(user))


def policy_digest(settings: Settings) -> str:
    """Changes whenever a catalog's pictures are to be marked otherwise; "" while none are marked."""
    default, others = marking_step(settings), settings.marks.catalogs
    if default is None and not others:
        return ""
    said = json.dumps([default and default.model_dump(mode="json"), others], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def labelled(image: "Image", step: PostStep) -> "Image":
    """The picture with the visible label that a mark's step asks for; the other marks come with its file."""
    label = str(step.params.get("label") or "")
    return draw_label(image, label) if label else image


def relabelled(step: PostStep) -> PostStep:
    """A recorded mark's step as it would be done here: with the font that is here."""
    return step.model_copy(update={"uses": label_font_digest() if step.params.get("label") else ""})


@dataclass(frozen=True)
class Marker:
    """Makes files that carry the marks that their recipes name. Safe for threads."""

    settings: Settings

    @cached_property
    def credentials(self) -> Credentials:
        """What is signed with. Raises MarkError."""
        return credentials(self.settings)

    def encode(
        self,
        image: "Image",
        format: ImageFormat,
        quality: int,
        recipe: Recipe,
        *,
        embed: bool,
        inputs: Sequence[bytes] = (),
    ) -> bytes:
        """The file of a finished picture: hidden mark, encoding, metadata, and last of all the signature.

        Args:
            embed: write the recipe into it, unless the policy keeps that in the store.
            inputs: the files of its input pictures.
        Raises:
            PictureError: if it cannot be encoded.
            MarkError: if it cannot be signed.
        """
        step = mark_step(recipe)
        if step is None:
            return encode_picture(image, format, quality, recipe if embed else None)
        statement = statement_of(recipe, step)
        shown = recipe if embed and step.params["prompts"] else None
        is_hidden = step.params["policy"] == "full"
        write = partial(_hidden, _STRENGTHS) if is_hidden else encode_picture
        data = write(image, format, quality, shown, statement)
        kinds = [(one, kind) for one in inputs if (kind := content_type_of(one))]
        ingredients = [Ingredient(one if has_manifest(one) else b"", kind) for one, kind in kinds]
        return self._sign(data, format, statement, recipe.post, ingredients, is_hidden=is_hidden)

    def sheet(self, image: "Image", name: str, step: PostStep | None, store: ObjectStore) -> bytes:
        """A sheet of pictures as a PNG file with the same marks; `name` says which it is."""
        if step is None:
            return encode_picture(image, "png", 100, None)
        statement = Statement(str(step.params["producer"]), hashlib.sha256(name.encode()).hexdigest())
        data = self._aside(image, "png", 100, step, statement, _OF_SHEETS)
        if step.params["policy"] == "full":
            keep_record(store, _record(statement, name, "", ""), "sheet")
        return data

    def preview(self, image: "Image", quality: int, recipe: Recipe) -> bytes:
        """A small picture of one under way as a JPEG, with the marks of the finished one, whose recipe this is."""
        step = mark_step(recipe)
        if step is None:
            return encode_picture(image, "jpg", quality, None)
        return self._aside(image, "jpg", quality, step, statement_of(recipe, step), _STRENGTHS)

    def _aside(
        self,
        image: "Image",
        format: ImageFormat,
        quality: int,
        step: PostStep,
        statement: Statement,
        strengths: Sequence[float],
    ) -> bytes:
        """The file of what is no picture of a recipe."""
        is_hidden = step.params["policy"] == "full"
        write = partial(_hidden, strengths) if is_hidden else encode_picture
        data = write(labelled(image, step), format, quality, None, statement)
        return self._sign(data, format, statement, (step,), (), is_hidden=is_hidden)

    def keep(self, store: ObjectStore, recipe: Recipe, key: str, owner: str = "", name: str = "catalog") -> None:
        """Keep the record that a picture's invisible mark leads to."""
        step = mark_step(recipe)
        if step and step.params["policy"] == "full":
            keep_record(store, _record(statement_of(recipe, step), key, owner, recipe.to_json()), name)

    def missing(self, data: bytes, recipe: Recipe, image: "Image") -> str:
        """What a file lacks of the marks that its recipe names; "" if nothing."""
        step = mark_step(recipe)
        return self.lacks(data, image, step, statement_of(recipe, step)) if step else ""

    def lacks(self, data: bytes, image: "Image", step: PostStep, statement: Statement | None = None) -> str:
        """As `missing`, of a file that is known by its step alone."""
        from models.marks.reading import read_marks

        scales = (1.0,) if min(image.size) >= READ_BACK_PX else ()
        found = {one.layer: one for one in read_marks(data, image, self.credentials.anchor.decode(), scales)}
        return "; ".join(_lacks(found, step, statement, min(image.size)))

    def reads_back(self) -> bool:
        """Whether a picture belongs to the share that is read back."""
        return random.random() < self.settings.marks.read_back

    def _sign(
        self,
        data: bytes,
        format: ImageFormat,
        statement: Statement,
        steps: Sequence[PostStep],
        ingredients: Sequence[Ingredient],
        *,
        is_hidden: bool,
    ) -> bytes:
        return sign(data, CONTENT_TYPES[format], statement, steps, self.credentials, ingredients, bound=is_hidden)


def _hidden(
    strengths: Sequence[float],
    image: "Image",
    format: ImageFormat,
    quality: int,
    recipe: Recipe | None,
    statement: Statement,
) -> bytes:
    """A file with the invisible mark: as weak as can be found in it, if it is large enough to be read back."""
    import numpy as np

    from models.decoding.pillow import decoded
    from models.marks.embedding import Mark
    from models.marks.invisible import find_mark

    mark = Mark(np.asarray(rgb_picture(image)), statement.identifier)
    *tries, last = strengths if min(image.size) >= READ_BACK_PX else strengths[:1]
    write = partial(encode_picture, format=format, quality=quality, recipe=recipe, statement=statement)
    for strength in tries:
        marked = mark.at(strength)
        data = b"" if format == "png" else write(marked)
        seen = np.asarray(decoded(data, marked.size)) if data else marked
        if find_mark(seen, (1.0,)) == statement.identifier:
            return data or write(marked)
    return write(mark.at(last))


def _lacks(found: "Mapping[Layer, Found]", step: PostStep, statement: Statement | None, side_px: int) -> "list[str]":
    from models.marks.reading import METADATA

    problems = [f"no {layer}" for layer in METADATA if layer not in found]
    problems += [f"{layer}: {one.says}" for layer, one in found.items() if not one.valid]
    hidden, label = found.get("invisible"), found.get("tc260")
    if step.params["policy"] == "full" and side_px >= READ_BACK_PX and not hidden:
        problems.append("no invisible mark")
    if statement and hidden and hidden.value != statement.identifier.hex():
        problems.append("invisible: it is another picture's")
    if statement and label and label.valid and label.value != statement.produce_id:
        problems.append("tc260: it is another picture's")
    return problems


def _record(statement: Statement, key: str, owner: str, recipe: str) -> MarkRecord:
    return MarkRecord(
        identifier=statement.identifier.hex(),
        produce_id=statement.produce_id,
        key=key,
        owner=owner,
        recipe=recipe,
    )
