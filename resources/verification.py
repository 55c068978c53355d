"""What the marks of a picture say, and what the store knows of it: whoever has the file, or a copy of its pixels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from configs.settings import Settings
from resources.mark_records import MarkRecord, find_records
from resources.object_store import ObjectStore

if TYPE_CHECKING:  # it loads picture libraries, which gateways have only where a picture is verified
    from models.marks.reading import Found

NO_MARKS = "no marks found: the picture does not say that a machine made it, and is not known here"
_HIDDEN = ("key", "owner", "recipe")
"""What of a record is for its owner alone."""


@dataclass(frozen=True)
class Verification:
    """The marks of a file, and the records that its invisible mark leads to."""

    marks: list["Found"]
    records: list[MarkRecord]

    def lacks(self, settings: Settings) -> list[str]:
        """What is missing, or not valid, of what the deployment's policy asks for."""
        from models.marks.reading import METADATA

        found = {one.layer: one for one in self.marks}
        policy = settings.marks.policy
        wanted = () if policy == "off" else METADATA if policy == "metadata" else (*METADATA, "invisible")
        wrong = [f"{layer}: {one.says}" for layer, one in found.items() if not one.valid]
        return [*(f"no {layer}" for layer in wanted if layer not in found), *wrong]


def verify(
    data: bytes, settings: Settings, store: ObjectStore, may_see: Callable[[MarkRecord], bool] = lambda record: True
) -> Verification:
    """Read every mark of a file, in a decoder process, and look its picture up.

    Args:
        may_see: whether the caller may see a record whole; else only that it is there.
    Raises:
        PictureError: if it is no picture, or too large.
        MarkError: if nobody knows by which certificate pictures are signed here.
        StoreError: if the store fails.
    """
    from models.image import marks_in
    from models.marks.signer import credentials

    anchor = credentials(settings).anchor.decode()
    marks = marks_in(data, settings.pictures.max_input_pixels, anchor)
    identifier = next((one.value for one in marks if one.layer == "invisible"), "")
    records = list(find_records(store, identifier)) if identifier else []
    if identifier and not records:
        marks = [_unknown(one) if one.layer == "invisible" else one for one in marks]
    return Verification(marks, [record if may_see(record) else _closed(record) for record in records])


def _unknown(mark: "Found") -> "Found":
    return replace(mark, says=f"{mark.says}, of which this store has no record")


def _closed(record: MarkRecord) -> MarkRecord:
    return record.model_copy(update=dict.fromkeys(_HIDDEN, ""))
