"""The first look at a catalog's finished pictures: their scores, and what follows from them.

With `review: flagged` a person is asked of a picture that some scorer doubts. One that none does is approved, one that
is surely wrong is rejected, and so made again as often as the catalog says: by verdicts like those of people, who may
say otherwise.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set

from configs.lifecycle_settings import CheckSettings
from foundation.map_ahead import map_ahead
from io_managers.image_set import ImageSet, ManifestRow, StoredPicture
from ops.catalog.rows import ReviewPolicy
from ops.review.verdicts import NOTHING_SAID, CatalogVerdicts, State, Verdict, new_verdict, standings
from ops.scores.kept import Kept, Scores, kept_scores, scores_key, told
from ops.scores.scorers import open_scorers, scorer_names
from resources.object_store import ObjectStore
from resources.stored_json import put_json

FIRST_LOOK = "first look"
"""Who says what follows from scores."""


def look_first(finished: ImageSet, policy: ReviewPolicy, settings: CheckSettings) -> dict[str, Scores]:
    """Score the pictures that are new, or that a scorer has not seen, keep the scores, and say what follows.

    What it said itself, and nobody else did, it says anew when scorers, limits or the catalog's policy have changed.

    Returns:
        The scores by recipe.
    """
    store, catalog, names = finished.store, finished.catalog, scorer_names(settings)
    rows = [row for row in finished.rows() if row.status.has_picture]
    known = kept_scores(store, catalog)
    missing = {row.recipe_digest: set(names) - known.get(row.recipe_digest, {}).keys() for row in rows}
    news = dict(_scored([row for row in rows if missing[row.recipe_digest]], missing, store, settings))
    every = {row.recipe_digest: {**known.get(row.recipe_digest, {}), **news.get(row.recipe_digest, {})} for row in rows}
    margins = {row.recipe_digest: _margin(row) for row in rows}
    kept = {recipe: {name: scores[name] for name in names} | margins[recipe] for recipe, scores in every.items()}
    if kept != known:
        put_json(store, scores_key(catalog), kept)
    verdicts, scores = CatalogVerdicts(store, catalog), told(kept)
    verdicts.record(list(_verdicts(rows, scores, policy, settings, verdicts.all())))
    return scores


def _scored(
    rows: list[ManifestRow], missing: Mapping[str, Set[str]], store: ObjectStore, settings: CheckSettings
) -> Iterator[tuple[str, Kept]]:
    if not rows:
        return
    from ops.scores.seen import Seen  # numpy, which definitions load without

    scorers = open_scorers(settings)

    def score(row: ManifestRow) -> Kept:
        seen = Seen.of(StoredPicture(row, store).image(), row.text, _marks(row), row.model)
        scores = {name: scorers[name](seen) for name in missing[row.recipe_digest]}
        return {name: None if value is None else round(float(value), 3) for name, value in scores.items()}

    for row, scores in map_ahead(score, rows):
        yield row.recipe_digest, scores


def _marks(row: ManifestRow) -> tuple[str, ...]:
    """The texts on a picture that were written there once it was painted."""
    params = (step["params"] for step in json.loads(row.recipe or "{}").get("post", ()))
    return tuple(str(one[name]) for one in params for name in ("text", "label") if one.get(name))


def _margin(row: ManifestRow) -> dict[str, float | None]:
    """How far a picture was from being rejected by the moderator, if that tells, as a score like the others."""
    said = json.loads(row.verdict) if row.verdict else {}
    return {"moderation": said["margin"]} if "margin" in said else {}


def _verdicts(
    rows: list[ManifestRow],
    scores: Mapping[str, Scores],
    policy: ReviewPolicy,
    settings: CheckSettings,
    said: Sequence[Verdict],
) -> Iterator[Verdict]:
    people = {one.recipe for one in said if one.state and one.by != FIRST_LOOK}
    held = standings(said)
    for row in rows:
        state, reason = _follows(scores[row.recipe_digest], policy, settings)
        before = held.get(row.recipe_digest, NOTHING_SAID)
        if row.recipe_digest not in people and (state, reason) != (before.state, before.reason):
            yield new_verdict(row.recipe_digest, row.row_id, FIRST_LOOK, state=state, reason=reason)


def _follows(scores: Scores, policy: ReviewPolicy, settings: CheckSettings) -> tuple[State, str]:
    """What scores lead to, with the reason."""
    if policy.remake and policy.required and (wrong := _below(scores, settings.remake_below)):
        return State.REJECTED, wrong
    is_good = policy.flagged and not _below(scores, settings.review_below)
    return State.APPROVED if is_good else State.UNREVIEWED, ""


def _below(scores: Scores, limits: Mapping[str, float]) -> str:
    """The scores below their limits, as a reason."""
    return ", ".join(f"{name} {scores[name]:.2f}" for name, limit in limits.items() if scores.get(name, 1.0) < limit)
