"""The first look at a catalog's finished pictures: their scores, and what follows from them.

With `review: flagged` a person is asked of a picture that some scorer doubts. One that none does is approved, one that
is surely wrong is rejected, and so made again as often as the catalog says: by verdicts like those of people, who may
say otherwise.
"""

import json
from collections.abc import Iterator, Mapping

from configs.lifecycle_settings import CheckSettings
from io_managers.image_set import ImageSet, ManifestRow, StoredPicture
from ops.catalog import ReviewPolicy
from ops.map_ahead import map_ahead
from ops.review.verdicts import CatalogVerdicts, State, Verdict, new_verdict
from ops.scores.kept import Scores, scores_key, scores_of
from resources.object_store import ObjectStore

FIRST_LOOK = "first look"
"""Who says what follows from scores."""


def look_first(finished: ImageSet, policy: ReviewPolicy, settings: CheckSettings) -> dict[str, Scores]:
    """Score the pictures that are new, keep the scores, and say what follows; returns the scores by recipe."""
    store, catalog = finished.store, finished.catalog
    rows = [row for row in finished.rows() if row.status.has_picture]
    known = scores_of(store, catalog)
    new = [row for row in rows if row.recipe_digest not in known]
    scored = dict(_scored(new, store, settings))
    scores = {row.recipe_digest: scored.get(row.recipe_digest, known.get(row.recipe_digest, {})) for row in rows}
    if scores != known:
        store.put(scores_key(catalog), json.dumps(scores).encode(), content_type="application/json")
    verdicts = CatalogVerdicts(store, catalog)
    said = {one.recipe for one in verdicts.all()}
    unsaid = (row for row in rows if row.recipe_digest not in said)
    verdicts.record(list(_verdicts(unsaid, scores, policy, settings)))
    return scores


def _scored(rows: list[ManifestRow], store: ObjectStore, settings: CheckSettings) -> Iterator[tuple[str, Scores]]:
    from ops.scores.scorers import Seen, open_scorers  # numpy, which definitions load without

    scorers = open_scorers(settings.scorers)

    def score(row: ManifestRow) -> dict[str, float]:
        seen = Seen.of(StoredPicture(row, store).image(), row.text)
        scores = ((name, scorer(seen)) for name, scorer in scorers.items())
        return {name: round(float(value), 3) for name, value in scores if value is not None}

    for row, scores in map_ahead(score, rows):
        yield row.recipe_digest, scores


def _verdicts(
    rows: Iterator[ManifestRow], scores: Mapping[str, Scores], policy: ReviewPolicy, settings: CheckSettings
) -> Iterator[Verdict]:
    for row in rows:
        known = scores[row.recipe_digest]
        wrong = _below(known, settings.remake_below) if policy.remake and policy.required else ""
        doubt = _below(known, settings.review_below)
        if wrong:
            yield new_verdict(row.recipe_digest, row.row_id, FIRST_LOOK, state=State.REJECTED, reason=wrong)
        elif policy.flagged and not doubt:
            yield new_verdict(row.recipe_digest, row.row_id, FIRST_LOOK, state=State.APPROVED)


def _below(scores: Scores, limits: Mapping[str, float]) -> str:
    """The scores below their limits, as a reason."""
    return ", ".join(f"{name} {scores[name]:.2f}" for name, limit in limits.items() if scores.get(name, 1.0) < limit)
