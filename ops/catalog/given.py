"""What people say of a catalog that its file does not: of a CSV, when it is made, and who reviews it."""

from collections.abc import Mapping
from dataclasses import asdict

from foundation.problems import nearest
from ops.catalog.document import read_hours, read_review, read_schedule
from ops.catalog.problems import ProblemList
from ops.catalog.rows import CatalogSchedule, ReviewPolicy
from ops.catalog.yaml_file import YamlMapping

_TIMES = ("cron", "timezone", "policy")
_REVIEW = ("review", "remake", "owner")
KEYS = (*_TIMES, "freshness_hours", *_REVIEW)


def read_given(
    given: Mapping[str, str],
    schedule: CatalogSchedule | None,
    freshness_hours: float | None,
    review: ReviewPolicy,
    problems: ProblemList,
) -> tuple[CatalogSchedule | None, float | None, ReviewPolicy]:
    """Schedule, freshness hours and review of a catalog, with what is given instead of these."""
    for key in given:
        if key not in KEYS:
            problems.add(key[:80], "", f"unknown key.{nearest(key, KEYS) or ' Known: ' + ', '.join(KEYS) + '.'}")
    if any(key in given for key in _TIMES):
        times = YamlMapping(0)
        times.update({**(asdict(schedule) if schedule else {}), **{key: given[key] for key in _TIMES if key in given}})
        schedule = read_schedule(times, problems)
    if "freshness_hours" in given:
        freshness_hours = read_hours("freshness_hours", given["freshness_hours"], problems)
    own = {"review": review.word, "remake": str(review.remake), "owner": review.owner}
    said = {key: given[key] for key in _REVIEW if key in given}
    return schedule, freshness_hours, read_review({**own, **said}, problems)
