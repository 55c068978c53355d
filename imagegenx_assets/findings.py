"""What the check of each asset looks at; see `imagegenx_assets.checks`."""

import time
from typing import TYPE_CHECKING

from imagegenx_assets.catalog_step import CatalogStep
from io_managers.image_set import MAX_STORED_PIXELS, ImageSet, Status
from models.image import open_stored_picture
from ops.catalog.schedules import catalog_freshness_hours
from ops.checks.files import check_files
from ops.checks.looks import check_looks
from ops.checks.marked import check_marked
from ops.checks.outcome import Outcome, Problem
from ops.checks.result import Findings
from ops.checks.rows import (
    catalog_rows,
    check_moderated,
    check_rows,
    finished,
    generated,
    manifest_rows,
    thumbnail,
    upscaled,
)
from ops.checks.watermarks import check_watermarks
from ops.freshness import freshness
from ops.gallery_page import contact_sheet_key, gallery_key
from ops.marking import Marker, catalog_step
from ops.moderation import open_moderation
from resources.audit import AuditEvent, open_audit

if TYPE_CHECKING:
    from pandas import DataFrame

_AGAIN = "Materialize gallery again."


def of_table(table: "DataFrame") -> Findings:
    """Of `prompt_catalog`."""
    ids = table["id"].astype(str)
    twice = ids[ids.duplicated()].unique().tolist()
    problems = [Problem(row_id, "is the id of more than one row") for row_id in twice]
    if ids.empty:
        problems.append(Problem("", "the catalog has no rows"))
    return {"rows unique": Outcome(len(ids), problems, "Correct the catalog's file and materialize it again.")}


def of_generated(step: CatalogStep, table: "DataFrame") -> Findings:
    """Of `generated_images`."""
    made = step.images()
    return {
        "rows as asked": check_rows(made, catalog_rows(table), generated),
        "files whole": check_files(made, sample=step.settings.checks.sample),
        "pictures differ": check_looks(made),
        "moderated": _moderated(step, made),
    }


def of_upscaled(step: CatalogStep, before: ImageSet) -> Findings:
    """Of `upscaled_images`."""
    made = step.images()
    return {
        "rows as asked": check_rows(made, manifest_rows(before), upscaled),
        "files whole": check_files(made, sample=step.settings.checks.sample),
        "pictures differ": check_looks(made),
    }


def of_watermarked(step: CatalogStep, before: ImageSet) -> Findings:
    """Of `watermarked_images`."""
    made, sample = step.images(), step.settings.checks.sample
    return {
        "rows as asked": check_rows(made, manifest_rows(before), finished),
        "files whole": check_files(made, sample=sample, with_recipes=step.settings.marks.prompts),
        "marked": _marked(step, made),
        "watermarks shown": check_watermarks(made, before, step.settings, sample=sample),
    }


def of_thumbnails(step: CatalogStep, before: ImageSet) -> Findings:
    """Of `thumbnails`."""
    made, settings = step.images(), step.settings
    return {
        "rows as asked": check_rows(made, manifest_rows(before), thumbnail(settings.pictures.thumbnail_px)),
        "files whole": check_files(made, sample=settings.checks.sample, with_recipes=False),
        "marked": _marked(step, made),
    }


def of_gallery(step: CatalogStep) -> Findings:
    """Of `gallery`."""
    keys = (gallery_key(step.catalog), contact_sheet_key(step.catalog))
    found = [step.store.stat(key) for key in keys]
    missing = [Problem("", f"'{key}' is not in the store") for key, file in zip(keys, found, strict=True) if not file]
    hours, page = catalog_freshness_hours(step.settings, step.catalogs, step.catalog), found[0]
    age = freshness(page.written_s, hours, time.time()) if page else {}
    marked = Outcome(0) if missing else _marked_sheet(step)
    return {"published": Outcome(len(keys), missing, _AGAIN), "marked": marked, **age}


def _marked(step: CatalogStep, made: ImageSet) -> Outcome:
    settings = step.settings
    wanted = catalog_step(settings, step.catalog)
    return check_marked(made, Marker(settings), wanted, sample=settings.checks.sample)


def _marked_sheet(step: CatalogStep) -> Outcome:
    key, wanted = contact_sheet_key(step.catalog), catalog_step(step.settings, step.catalog)
    if wanted is None:
        return Outcome(0)
    data = step.store.get(key)
    what = Marker(step.settings).lacks(data, open_stored_picture(data, MAX_STORED_PIXELS), wanted)
    return Outcome(1, [Problem("", f"'{key}' is not marked as the policy asks: {what}")] if what else [], _AGAIN)


def _moderated(step: CatalogStep, made: ImageSet) -> Outcome:
    moderation = open_moderation(step.settings.checks, step.store)
    if moderation is None:
        return Outcome(0)
    outcome = check_moderated(made, moderation.stamp)
    if rejected := sum(row.status is Status.REJECTED for row in made.rows()):
        facts = {"catalog": step.catalog, "rows": rejected, "of": outcome.checked}
        open_audit(step.settings).record(AuditEvent.ROWS_REJECTED, moderation.stamp, **facts)
    return outcome
