"""The checks of the catalogs' assets, and how serious each finding is.

| check | looks at | ERROR: the catalog goes no further | WARN |
|---|---|---|---|
| `rows_unique` | the whole table | an id twice, no row | |
| `rows_as_asked` | every manifest row | rows missing or too many, another size or format | rows that failed |
| `files_whole` | every file; a sample's content | a file missing, changed, with another recipe | |
| `pictures_differ` | every picture's `Look` | half of the catalog blank or equal | fewer of them |
| `watermarks_shown` | a sample, beside the unmarked | a mark that cannot be seen | |
| `moderated` | every manifest row | a picture the moderator has not seen | rejected pictures |
| `published` | the gallery's files | one that is missing | |
| `fresh` | the gallery page's age | | older than its `freshness_hours` |

A row that failed never blocks: it has no picture, so nothing bad flows on, and its neighbours are whole. Samples are
`checks.sample` of the pictures a run made and a quarter as many of those it kept; see `ops.checks.sample_rows`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec
from dagster._utils.warnings import disable_dagster_warnings

from foundation.outside_text import as_code
from imagegenx_assets.catalog_work import CatalogWork, StageCheck
from imagegenx_assets.partitions import CATALOGS
from io_managers.text_table import text_table
from ops.catalog import open_catalogs
from ops.catalog.schedules import catalog_freshness_hours
from ops.checks import (
    AfterStage,
    Outcome,
    Problem,
    catalog_rows,
    check_files,
    check_looks,
    check_moderated,
    check_rows,
    check_watermarks,
    finished,
    generated,
    manifest_rows,
    thumbnail,
    upscaled,
)
from ops.freshness import FRESH_CHECK, is_stale, stale_text
from ops.gallery_page import contact_sheet_key, gallery_key
from ops.moderation import open_moderation
from resources.audit import AuditEvent, open_audit

SHOWN_ROWS = 20

Check = Callable[[CatalogWork], Outcome]


def _rows_unique(work: CatalogWork) -> Outcome:
    ids = work.table()["id"].astype(str)
    twice = ids[ids.duplicated()].unique().tolist()
    problems = [Problem(row_id, "is the id of more than one row") for row_id in twice]
    if ids.empty:
        problems.append(Problem("", "the catalog has no rows"))
    return Outcome(len(ids), problems, "Correct the catalog's file and materialize it again.")


def _rows_as_asked(asset: str, before: str, after: Callable[[CatalogWork], AfterStage]) -> Check:
    def evaluate(work: CatalogWork) -> Outcome:
        rows = manifest_rows(work.images(before)) if before else catalog_rows(work.table())
        return check_rows(work.images(asset), rows, after(work))

    return evaluate


def _files_whole(asset: str) -> Check:
    def evaluate(work: CatalogWork) -> Outcome:
        return check_files(work.images(asset), sample=work.settings.checks.sample, with_recipes=asset != "thumbnails")

    return evaluate


def _watermarks_shown(work: CatalogWork) -> Outcome:
    marked, unmarked = work.images("watermarked_images"), work.images("upscaled_images")
    return check_watermarks(marked, unmarked, work.settings, sample=work.settings.checks.sample)


def _moderated(work: CatalogWork) -> Outcome:
    moderation = open_moderation(work.settings.checks, work.store)
    if moderation is None:
        return Outcome(0)
    outcome = check_moderated(work.images("generated_images"), moderation.stamp)
    if rejected := sum(not problem.blocks for problem in outcome.problems):
        facts = {"catalog": work.catalog, "rows": rejected, "of": outcome.checked}
        open_audit(work.settings).record(AuditEvent.ROWS_REJECTED, moderation.stamp, **facts)
    return outcome


def _published(work: CatalogWork) -> Outcome:
    keys = (gallery_key(work.catalog), contact_sheet_key(work.catalog))
    missing = [Problem("", f"'{key}' is not in the store") for key in keys if work.store.stat(key) is None]
    return Outcome(len(keys), missing, "Materialize gallery again.")


def _fresh(work: CatalogWork) -> Outcome:
    page, catalogs = work.store.stat(gallery_key(work.catalog)), open_catalogs(work.settings, work.store)
    hours = catalog_freshness_hours(work.settings, catalogs, work.catalog)
    stale = page is not None and is_stale(page.written_s, hours, time.time())
    return Outcome(1, [Problem("", stale_text(hours), blocks=False)] if stale else [], "Materialize the catalog again.")


def _declare(asset: str, name: str, description: str, check: Check, *, blocking: bool = True) -> StageCheck:
    def evaluate(work: CatalogWork) -> AssetCheckResult:
        return _result(check(work))

    # Checks with partitions are announced as subject to change; without them, one catalog's result hides another's.
    with disable_dagster_warnings():
        spec = AssetCheckSpec(name, asset=asset, description=description, blocking=blocking, partitions_def=CATALOGS)
    return StageCheck(spec, evaluate)


def _result(outcome: Outcome) -> AssetCheckResult:
    """The outcome as Dagster shows it: the first wrong rows and what to do are in its metadata."""
    metadata: dict[str, Any] = {"checked": outcome.checked}
    description = None
    if outcome.problems:
        description = f"{len(outcome.problems)} of {outcome.checked}: {as_code(_line(outcome.problems[0]))}"
        metadata |= {
            "problems": len(outcome.problems),
            "rows": text_table(("row", "problem"), _rows(outcome.problems)),
            "what to do": outcome.remedy,
        }
    severity = AssetCheckSeverity.ERROR if outcome.blocks else AssetCheckSeverity.WARN
    return AssetCheckResult(passed=outcome.passed, severity=severity, metadata=metadata, description=description)


def _rows(problems: Sequence[Problem]) -> Iterator[tuple[str, str]]:
    # Those that block first: of many rows that failed, none may hide one that is wrong.
    ordered = sorted(problems, key=lambda problem: not problem.blocks)
    for problem in ordered[:SHOWN_ROWS]:
        yield problem.row_id, problem.what
    if len(ordered) > SHOWN_ROWS:
        yield "", f"… and {len(ordered) - SHOWN_ROWS} more"


def _line(problem: Problem) -> str:
    return f"row {problem.row_id} {problem.what}" if problem.row_id else problem.what


_ROWS = "Every row of the asset before is here, in its place, in the size and file format it was asked for."
_FILES = "Every picture is in the store with its size; a sample has its SHA-256, its pixels and its recipe."
_LOOKS = "Pictures are not blank, and pictures of different recipes are different."
_MARKS = "A sample of marked pictures shows the mark where it should be."
_MODERATED = "The moderator of `checks.moderation` has seen every picture; rejected ones are in quarantine."

STAGE_CHECKS: tuple[StageCheck, ...] = (
    _declare("prompt_catalog", "rows_unique", "The catalog has rows, and no two with one id.", _rows_unique),
    _declare(
        "generated_images", "rows_as_asked", _ROWS, _rows_as_asked("generated_images", "", lambda work: generated())
    ),
    _declare("generated_images", "files_whole", _FILES, _files_whole("generated_images")),
    _declare("generated_images", "pictures_differ", _LOOKS, lambda work: check_looks(work.images("generated_images"))),
    _declare("generated_images", "moderated", _MODERATED, _moderated),
    _declare(
        "upscaled_images",
        "rows_as_asked",
        _ROWS,
        _rows_as_asked("upscaled_images", "generated_images", lambda work: upscaled()),
    ),
    _declare("upscaled_images", "files_whole", _FILES, _files_whole("upscaled_images")),
    _declare("upscaled_images", "pictures_differ", _LOOKS, lambda work: check_looks(work.images("upscaled_images"))),
    _declare(
        "watermarked_images",
        "rows_as_asked",
        _ROWS,
        _rows_as_asked("watermarked_images", "upscaled_images", lambda work: finished()),
    ),
    _declare("watermarked_images", "files_whole", _FILES, _files_whole("watermarked_images")),
    _declare("watermarked_images", "watermarks_shown", _MARKS, _watermarks_shown),
    _declare(
        "thumbnails",
        "rows_as_asked",
        "Every picture has a thumbnail that fits its box and keeps its aspect ratio.",
        _rows_as_asked("thumbnails", "watermarked_images", lambda work: thumbnail(work.settings.pictures.thumbnail_px)),
    ),
    _declare("thumbnails", "files_whole", _FILES, _files_whole("thumbnails")),
    _declare("gallery", "published", "The page and the contact sheet are in the store.", _published, blocking=False),
    _declare("gallery", FRESH_CHECK, "The catalog was made in the last `freshness_hours`.", _fresh, blocking=False),
)
"""Evaluated for every catalog, each right after the stage that makes its asset."""
