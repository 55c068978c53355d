"""Whether a manifest has the rows, sizes and formats that were asked for: every row, from the manifest alone."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from io_managers.image_set import ImageSet, ManifestRow, Status
from models.request import PostProcess
from models.resolution import Resolution
from ops.checks.outcome import Outcome, Problem
from ops.moderation import UNJUDGED
from ops.stages import generated_format, upscaled_format
from ops.upscaling import FACTORS

if TYPE_CHECKING:
    import pandas as pd

Size = tuple[int, int]
Result = tuple[Size, str]
"""The size in px and the format of a picture that a stage leaves."""
AfterStage = Callable[[Size, PostProcess], Result]
"""What a stage makes of a picture, from its size before and the row's post-processing."""


@dataclass(frozen=True, slots=True)
class RowBefore:
    """A row as the asset before has it: its picture's width and height in px, or None if it has no picture."""

    row_id: str
    size: Size | None


def catalog_rows(table: "pd.DataFrame") -> Iterator[RowBefore]:
    """The rows of a catalog, with the sizes they ask for."""
    for row_id, resolution in zip(table["id"], table["resolution"], strict=True):
        asked = Resolution.parse(resolution)
        yield RowBefore(str(row_id), (asked.width_px, asked.height_px))


def manifest_rows(images: ImageSet) -> Iterator[RowBefore]:
    """The rows of the asset before."""
    for row in images.rows():
        yield RowBefore(row.row_id, (row.width_px, row.height_px) if row.status.has_picture else None)


def generated(size: Size, post: PostProcess) -> Result:
    """Pictures have the size the catalog asks for, and are lossless while a later stage changes them."""
    return size, generated_format(post)


def upscaled(size: Size, post: PostProcess) -> Result:
    """Pictures are 2 or 4 times as wide and high if the row asks for it."""
    factor = FACTORS[post.super_resolution] if post.super_resolution else 1
    return (size[0] * factor, size[1] * factor), upscaled_format(post)


def finished(size: Size, post: PostProcess) -> Result:
    """A watermark changes no size; the format is the one the row asks for."""
    return size, post.format


def thumbnail(side_px: int) -> AfterStage:
    """WebP that fits a square of `side_px`, its aspect ratio kept; a picture that fits it is its own thumbnail."""

    def fitted(size: Size, post: PostProcess) -> Result:
        if max(size) <= side_px:
            return size, post.format
        factor = side_px / max(size)
        return (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)), "webp"

    return fitted


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


def _other_row(row: ManifestRow | None, asked: RowBefore | None) -> Problem:
    found = f"the manifest has row '{row.row_id}'" if row else "the manifest ends"
    wanted = f"where row '{asked.row_id}' should be" if asked else "after the last row"
    row_id = row.row_id if row else asked.row_id if asked else ""
    return Problem(row_id, f"{found} {wanted}; rows after it were not looked at")


def _not_as_asked(row: ManifestRow, asked: RowBefore, after: AfterStage) -> str:
    if asked.size is None:
        return "has a picture, but none in the asset before"
    (width_px, height_px), wanted = after(asked.size, PostProcess.model_validate_json(row.post_process))
    if (row.width_px, row.height_px) != (width_px, height_px):
        return f"is {row.width_px}×{row.height_px} px, asked for {width_px}×{height_px}"
    if row.format != wanted:
        return f"is a {row.format} file, asked for {wanted}"
    return ""


def _remedy(problems: list[Problem]) -> str:
    if any(problem.blocks for problem in problems):
        return "Materialize the catalog again from prompt_catalog on; if this stays, it is an error in ImageGenX."
    return "Correct these rows in the catalog, or what their errors name, and materialize it again: only they are made."


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
