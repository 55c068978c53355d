"""Reading marks: what a file says about how it was made, and whether that is right."""

import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from foundation.outside_text import one_line
from models.encoding import RecipeNotFoundError, content_type_of, read_recipe, read_xmp
from models.errors import PictureError
from models.marks.invisible import SCALES, find_mark
from models.marks.manifest import read_manifest
from models.picture_metadata import UnreadableXMPError, aigc_label, digital_source_type
from models.statement import AIGC_FIELDS, reserved_code

Layer = Literal["c2pa", "iptc", "tc260", "invisible", "recipe"]
METADATA: tuple[Layer, ...] = ("c2pa", "iptc", "tc260")
_LONGEST = 500
"""Of what a mark says: a file may hold any text in its place."""
_AI_TYPES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic")


@dataclass(frozen=True)
class Found:
    """One mark of a file.

    Attributes:
        valid: it says that the picture is made by a machine, and is whole.
        says: what it says, or what is wrong with it, for people.
        value: what it says, for machines: an id, a URI or a recipe.
        own: it is signed by one whose certificates were given as anchors.
    """

    layer: Layer
    valid: bool
    says: str
    value: str = ""
    own: bool = False


def read_marks(data: bytes, image: Image.Image, anchors: str = "", scales: tuple[float, ...] = SCALES) -> list[Found]:
    """All marks of a file, of which `image` is the decoded picture, upright or not.

    Args:
        anchors: certificates, PEM, of those whose signatures are one's own.
        scales: see `find_mark`.
    """
    found = [_c2pa(data, anchors), *_xmp(data), _invisible(image, scales), _recipe(data)]
    return [replace(one, says=one_line(one.says)[:_LONGEST]) for one in found if one]


def _c2pa(data: bytes, anchors: str) -> Found | None:
    content_type = content_type_of(data)
    signed = read_manifest(data, content_type, anchors) if content_type else None
    if signed is None:
        return None
    if not signed.valid:
        return Found("c2pa", False, f"not valid: {', '.join(signed.problems)}")
    is_ai = signed.source_type.rpartition("/")[2] in _AI_TYPES
    by = f"signed by {signed.signer}" + ("" if signed.trusted else ", whom nobody here vouches for")
    when = f", {signed.time}" if signed.time else ", without a time stamp"
    inputs = f", of {signed.ingredients} input pictures" if signed.ingredients else ""
    says = f"{signed.source_type.rpartition('/')[2] or 'says nothing of its making'}, {by}{when}{inputs}"
    return Found("c2pa", is_ai, says, signed.binding, own=signed.trusted)


def _xmp(data: bytes) -> list[Found]:
    try:
        packet = read_xmp(data)
        source_type = digital_source_type(packet) if packet else None
        label = aigc_label(packet) if packet else None
    except PictureError:
        return []
    except UnreadableXMPError as exc:
        return [Found("iptc", False, str(exc))]
    found = []
    if source_type:
        found.append(Found("iptc", source_type.rpartition("/")[2] in _AI_TYPES, source_type, source_type))
    if label:
        found.append(_aigc(label))
    return found


def _aigc(text: str) -> Found:
    try:
        label = json.loads(text)
        values = [label[name] for name in AIGC_FIELDS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Found("tc260", False, f"not the seven fields of GB 45438-2025: {text[:100]}")
    if not all(isinstance(value, str) for value in values):
        return Found("tc260", False, "a field of it is no text")
    mark, producer, produce_id, code = values[:4]
    if mark not in ("1", "2", "3"):
        return Found("tc260", False, f"Label is {mark[:20]!r}, not 1, 2 or 3")
    if code and code != reserved_code(mark, producer, produce_id) and _is_ours(code):
        return Found("tc260", False, "its fields were changed: ReservedCode1 is not theirs")
    return Found("tc260", True, f"made by {producer[:200]}, as {produce_id[:200]}", produce_id)


def _is_ours(code: str) -> bool:
    """Whether a reserved code has the form of ours; what others write there is theirs."""
    return len(code) == 64 and set(code) <= set("0123456789abcdef")


def _invisible(image: Image.Image, scales: tuple[float, ...]) -> Found | None:
    identifier = find_mark(np.asarray(image.convert("RGB")), scales)
    return Found("invisible", True, f"identifier {identifier.hex()}", identifier.hex()) if identifier else None


def _recipe(data: bytes) -> Found | None:
    try:
        recipe = read_recipe(data)
    except PictureError:
        return None
    except RecipeNotFoundError as exc:
        return None if "no ImageGenX recipe" in str(exc) else Found("recipe", False, str(exc))
    return Found("recipe", True, f"of model {recipe.model}", recipe.to_json())
