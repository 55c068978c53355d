"""Which catalogs have not been made for too long: by the age of their gallery pages, which every run writes anew."""

from collections.abc import Iterator, Mapping

from ops.checks.outcome import Outcome, Problem
from ops.checks.result import Findings
from ops.gallery_page import GALLERIES, gallery_key
from resources.object_store import ObjectStore

REMEDY = "Materialize the catalog again, or give it a schedule."


def stale_catalogs(store: ObjectStore, hours: Mapping[str, float], now_s: float) -> Iterator[tuple[str, float]]:
    """(catalog, time of its last run, Unix s) of those whose last run is older than their hours."""
    return ((catalog, at_s) for catalog, at_s in made_at_s(store) if is_stale(at_s, hours[catalog], now_s))


def made_at_s(store: ObjectStore) -> Iterator[tuple[str, float]]:
    """(catalog, time of its last run, Unix s) of each that was made; one listing of the galleries tells them all."""
    for stored in store.list(GALLERIES):
        catalog = stored.key.removeprefix(GALLERIES).partition("/")[0]
        if stored.key == gallery_key(catalog):
            yield catalog, stored.written_s


def is_stale(written_s: float, hours: float, now_s: float) -> bool:
    """Whether something written then is older than that; nothing is stale if `hours` is 0."""
    return 0 < hours * 3600 < now_s - written_s


def freshness(written_s: float, hours: float, now_s: float) -> Findings:
    """What the check of a gallery says of its age."""
    problems = [Problem("", too_old(hours), blocks=False)] if is_stale(written_s, hours, now_s) else []
    return {"fresh": Outcome(1, problems, REMEDY)}


def too_old(hours: float) -> str:
    """What is said of a stale catalog."""
    return f"has not been made for {hours:g} h"
