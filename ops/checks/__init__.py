"""What is checked of a catalog's pictures: pure functions over image sets, each with one `Outcome`.

Manifests are checked row by row, all of them; pictures are opened for a sample (`sample_rows`), one at a time.
"""

from ops.checks.files import check_files
from ops.checks.looks import check_looks
from ops.checks.marked import check_marked
from ops.checks.outcome import Outcome, Problem
from ops.checks.result import Findings, blocks, check_evaluation, check_result
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
from ops.checks.sampling import sample_rows
from ops.checks.watermarks import check_watermarks

__all__ = [
    "Findings",
    "Outcome",
    "Problem",
    "blocks",
    "catalog_rows",
    "check_evaluation",
    "check_files",
    "check_looks",
    "check_marked",
    "check_moderated",
    "check_result",
    "check_rows",
    "check_watermarks",
    "finished",
    "generated",
    "manifest_rows",
    "sample_rows",
    "thumbnail",
    "upscaled",
]
