"""Whether a manifest has the rows, sizes and formats that were asked for: every row, from the manifest alone."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from io_managers.image_set import ImageSet, ManifestRow, Status
from models.resolution import Resolution
from ops.checks.outcome import Outcome, Problem
from ops.moderation import UNJUDGED

if TYPE_CHECKING:
    import pandas as pd

Size = tuple[int, int]
PostJson = dict[str, Any]

_FACTORS = {"": 1, "2x": 2, "4x": 4}


@dataclass(frozen=True, slots=True)
class RowBefore:
    """A row as the asset before has it: its picture's width and height in px, or None if it has no picture."""

    row_id: str
    size: Size | None


@dataclass(frozen=True)
class AfterStage:
    """What a stage makes of a picture, from its size before and the row's post-processing: its size, its format."""

    size: Callable[[Size, PostJson], Size]
    format: Callable[[Size, PostJson], str]


def catalog_rows(table: "pd.DataFrame") -> Iterator[RowBefore]:
    """The rows of a catalog, with the sizes they ask for."""
    for row_id, resolution in zip(table["id"], table["resolution"], strict=True):
        asked = Resolution.parse(resolution)
        yield RowBefore(str(row_id), (asked.width_px, asked.height_px))


def manifest_rows(images: ImageSet) -> Iterator[RowBefore]:
    """The rows of the asset before."""
    for row in images.rows():
        yield RowBefore(row.row_id, (row.width_px, row.height_px) if row.status.has_picture else None)


def generated() -> AfterStage:
    """Pictures have the size the catalog asks for, and are lossless while a later stage changes them."""
    return AfterStage(_unchanged, lambda size, post: "png" if post["super_resolution"] else _unmarked(post))


def upscaled() -> AfterStage:
    """Pictures are 2 or 4 times as wide and high if the row asks for it."""
    return AfterStage(_enlarged, lambda size, post: _unmarked(post))


def finished() -> AfterStage:
    """A watermark changes no size; the format is the one the row asks for."""
    return AfterStage(_unchanged, lambda size, post: str(post["format"]))


def thumbnail(side_px: int) -> AfterStage:
    """WebP that fits a square of `side_px`, its aspect ratio kept; a picture that fits it is its own thumbnail."""

    def fitted(size: Size, post: PostJson) -> Size:
        factor = min(1.0, side_px / max(size))
        return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)

    return AfterStage(fitted, lambda size, post: "webp" if max(size) > side_px else str(post["format"]))


def check_rows(images: ImageSet, before: Iterable[RowBefore], after: AfterStage) -> Outcome:
    """Compare a manifest with the asset before: the same rows in the same order, each as asked.

    A row that failed is a problem that does not block: it has no picture to flow on, and its neighbours are whole.
    """
    problems = []
    for row, asked in zip_longest(images.rows(), before):
        if row is None or asked is None or row.row_id != asked.row_id:
            problems.append(_other_row(row, asked))
            break
        if not row.status.has_picture:
            problems.append(Problem(row.row_id, f"{row.status}: {row.error}", blocks=False))
        elif what := _not_as_asked(row, asked, after):
            problems.append(Problem(row.row_id, what))
    return Outcome(images.manifest.num_rows, problems, _remedy(problems))


def _unchanged(size: Size, post: PostJson) -> Size:
    return size


def _other_row(row: ManifestRow | None, asked: RowBefore | None) -> Problem:
    found = f"the manifest has row '{row.row_id}'" if row else "the manifest ends"
    wanted = f"where row '{asked.row_id}' should be" if asked else "after the last row"
    row_id = row.row_id if row else asked.row_id if asked else ""
    return Problem(row_id, f"{found} {wanted}; rows after it were not looked at")


def _not_as_asked(row: ManifestRow, asked: RowBefore, after: AfterStage) -> str:
    if asked.size is None:
        return "has a picture, but none in the asset before"
    post = json.loads(row.post_process)
    width_px, height_px = after.size(asked.size, post)
    if (row.width_px, row.height_px) != (width_px, height_px):
        return f"is {row.width_px}×{row.height_px} px, asked for {width_px}×{height_px}"
    if row.format != (wanted := after.format(asked.size, post)):
        return f"is a {row.format} file, asked for {wanted}"
    return ""


def _remedy(problems: list[Problem]) -> str:
    if any(problem.blocks for problem in problems):
        return "Materialize the catalog again from prompt_catalog on; if this stays, it is an error in ImageGenX."
    return "Correct these rows in the catalog, or what their errors name, and materialize it again: only they are made."


def _enlarged(size: Size, post: PostJson) -> Size:
    factor = _FACTORS[post["super_resolution"]]
    return size[0] * factor, size[1] * factor


def _unmarked(post: PostJson) -> str:
    return "png" if post["watermark"]["enable"] else str(post["format"])


_REMEDY = (
    "Look at those that are in quarantine. Change these prompts or the moderator, and materialize the catalog again."
)


def check_moderated(images: ImageSet, stamp: str) -> Outcome:
    """Report the rows that were rejected, and refuse pictures that the moderator has not allowed.

    Args:
        stamp: the moderator with its version; see `Moderation.stamp`.
    """
    problems, total = [], 0
    for row in images.rows():
        if row.status is Status.FAILED:
            continue
        total += 1
        if row.status is Status.REJECTED:
            problems.append(Problem(row.row_id, row.error, blocks=False))
        elif row.moderated_by == stamp + UNJUDGED:
            problems.append(Problem(row.row_id, f"was published by '{stamp}'{UNJUDGED}", blocks=False))
        elif row.moderated_by != stamp:
            problems.append(Problem(row.row_id, f"was allowed by '{row.moderated_by}', not by '{stamp}'"))
    return Outcome(total, problems, _REMEDY)
