"""How far the review of each catalog is whose pictures are published once approved."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ops.catalog.registered import RegisteredCatalogs, Registration
from ops.checks.outcome import Outcome, Problem
from ops.review.catalog_view import CatalogViews
from ops.review.verdicts import NOTHING_SAID, State, rejections, standings

REMEDY = "Review the pictures at /catalogs of the gateway; they are published once each has a verdict."


@dataclass(frozen=True)
class Reviewed:
    """The state of one review.

    Attributes:
        version: changes when pictures or verdicts do.
        owner: who is asked; "" for any reviewer.
        required: only approved pictures are published.
        again: the rows whose rejected picture is to be made again, with how many of theirs were rejected.
    """

    catalog: str
    version: str
    counts: Mapping[str, int]
    owner: str
    required: bool
    again: Mapping[str, int]

    @property
    def is_done(self) -> bool:
        """Whether every picture has a verdict, none is to be made again, and one at least is approved."""
        return self.required and not self.counts["unreviewed"] and not self.again and self.counts["approved"] > 0


def review_versions(catalogs: RegisteredCatalogs, views: CatalogViews) -> dict[str, str]:
    """The version of every review, by catalog, without reading any: nothing has changed while these are the same."""
    return {one.name: version for one in catalogs.all() if (version := _version(one, views))}


def reviews(catalogs: RegisteredCatalogs, views: CatalogViews) -> Iterator[Reviewed]:
    """The review of every catalog that asks for one, or makes rejected pictures again, and has been made."""
    for registration in catalogs.all():
        name, policy = registration.name, registration.review
        if version := _version(registration, views):
            view, said = views.get(name), views.verdicts(name).all()
            held, rejected = standings(said), rejections(said)
            again = {
                row.row_id: count
                for row in view.rows
                if held.get(row.recipe_digest, NOTHING_SAID).state is State.REJECTED
                and (count := len(rejected.get(row.row_id, ()))) <= policy.remake
            }
            yield Reviewed(name, version, view.counts(held), policy.owner, policy.required, again)


def _version(registration: Registration, views: CatalogViews) -> str:
    """Changes with pictures and verdicts; "" if there is no review, or nothing to review."""
    name, policy = registration.name, registration.review
    made = views.version(name) if policy.required or policy.remake else ""
    return made and f"{made} {views.verdicts(name).version()}"


def outcome(found: Iterable[Reviewed]) -> Outcome:
    """What the check `reviewed` says of these."""
    all_of_them = list(found)
    waiting = [
        Problem(
            one.catalog,
            f"{one.counts['unreviewed']} of {one.counts['pictures']} pictures wait for a verdict"
            f" of {one.owner or 'a reviewer'}; {one.counts['approved']} approved, {one.counts['rejected']} rejected",
            blocks=False,
        )
        for one in all_of_them
        if one.required and one.counts["unreviewed"]
    ]
    return Outcome(len(all_of_them), waiting, REMEDY)
