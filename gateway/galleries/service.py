"""What who reviews catalogs may see and say; the calls of `gateway.galleries.calls` in plain Python."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from foundation.map_ahead import map_ahead
from foundation.outside_text import one_line
from foundation.problems import shown
from gateway.errors import ServiceError, bad_field, service_errors
from gateway.galleries.wishes import pictures_to_make, read_wish
from gateway.service import GatewayService
from io_managers.live_progress import live_progress
from ops.catalog.problems import CatalogError
from ops.catalog.registered import RegisteredCatalogs, Registration
from ops.editions import made_edition, wanted_edition
from ops.review.asked import asked_changes
from ops.review.catalog_view import COLUMNS, NOW, CatalogView, CatalogViews
from ops.review.verdicts import MAX_REASON, Standing, State, Verdict, new_verdict
from resources.accounts import Account
from resources.audit import AuditEvent
from resources.dagster_names import GALLERY
from resources.object_store import InvalidKeyError

MAX_VERDICTS = 5_000
"""Of one call."""
_PAGE = 60
_COVERS = 4
_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_RECIPE = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_FIELDS = {"id", "recipe", "row", "state", "star", "reason"}


class Galleries:
    """The catalogs of the gateway's store. Safe to use from many threads; every method raises only ServiceError."""

    def __init__(self, service: GatewayService) -> None:
        self._links = service.links
        self._service = service
        self._catalogs = RegisteredCatalogs(service.store, renew_after_s=0)
        self.views = CatalogViews(service.store)

    @service_errors()
    def index(self, search: str, after: str) -> dict[str, object]:
        """The registered catalogs whose names hold `search`, `_PAGE` at a time; `next_after` goes on from there."""
        found = [name for name in self._catalogs.names() if search.casefold() in name.casefold() and name > after]
        page = found[:_PAGE]
        cards = [card for _, card in map_ahead(self._card, page)]
        return {"catalogs": cards, "total": len(found), "next_after": page[-1] if len(found) > _PAGE else None}

    @service_errors()
    def gallery(self, catalog: str, of: str) -> dict[str, object]:
        """All rows of a catalog, as it is or as an earlier version (`of`) has them, and what opens their files."""
        registration = self._registration(catalog)
        view = self._view(catalog, of)
        return {
            **self._head(registration),
            "version": view.version,
            "made_at_s": view.made_at_s,
            "columns": COLUMNS,
            "rows": view.table(),
            "token": self._links.grant(f"catalog {catalog}"),
            "dagster_url": self._dagster_url(catalog),
        }

    @service_errors()
    def versions(self, catalog: str) -> dict[str, object]:
        """What the catalog can be compared with and go back to, the latest first."""
        self._registration(catalog)
        store, versions = self._service.store, dict(self.views.versions(catalog))
        now = made_edition(store, catalog).edition
        if f"edition-{now}" in versions:  # a run has replaced its pictures, and has not ended yet
            now = wanted_edition(store, catalog).edition
        numbers = {of: now if of == NOW else _edition(of) for of in versions}
        return {"versions": [{"of": of, "edition": numbers[of], "at_s": at_s} for of, at_s in versions.items()]}

    @service_errors()
    def wish(self, account: Account, catalog: str, what: str, given: Mapping[str, Any]) -> dict[str, object]:
        """Keep what somebody asks of the catalog; a run that makes it begins within seconds, while the daemon runs."""
        self._registration(catalog)
        now, to = self.views.get(catalog), given.get("to", "")
        if not now.version:
            raise ServiceError(409, f"Catalog {shown(catalog)} has not been made yet; there is nothing to change.")
        earlier = self._view(catalog, str(to)) if what == "roll-back" else None
        wish = read_wish(what, given, account.user_id, now, earlier, self._service.registry)
        wish.keep(self._service.store)
        facts = {"catalog": catalog, "what": what, "rows": len(wish.rows) or len(now.rows)}
        self._service.audit.record(AuditEvent.CATALOG_CHANGED, account.user_id, **facts)
        return {"id": wish.id, "rows": facts["rows"], "to_make": pictures_to_make(wish, now, earlier)}

    @service_errors()
    def state(self, catalog: str, known: str) -> dict[str, object]:
        """What changes while people look: verdicts, unless the caller knows this version of them, and the run's way."""
        self._registration(catalog)
        verdicts = self.views.verdicts(catalog)
        version = verdicts.version()
        state: dict[str, object] = {
            "version": self.views.get(catalog).version,
            "progress": live_progress(self._service.store, catalog),
            "asked": [list(one.rows) for one in asked_changes(self._service.store, catalog)],
            "verdicts_version": version,
        }
        if version != known:
            state["verdicts"] = {recipe: _told(one) for recipe, one in verdicts.standings().items()}
        return state

    @service_errors()
    def picture(self, catalog: str, recipe: str) -> dict[str, object]:
        """The recipe of one picture, and everything that was said of it, the newest first."""
        self._registration(catalog)
        row = next((row for row in self.views.known(catalog).rows if row.recipe_digest == recipe), None)
        said = [one for one in self.views.verdicts(catalog).all() if one.recipe == recipe]
        history = [
            {"state": one.state, "star": one.star, "reason": one.reason, "by": one.by, "at_s": one.at_s}
            for one in reversed(said)
        ]
        return {"recipe": row.recipe if row else "", "history": history}

    @service_errors()
    def judge(self, account: Account, catalog: str, given: Mapping[str, object]) -> dict[str, object]:
        """Keep verdicts; once this returns, they are in the store."""
        self._registration(catalog)
        unknown = given.keys() - {"verdicts"}
        if unknown:
            raise bad_field(str(min(unknown))[:80], "unknown field. It takes: verdicts")
        items = given.get("verdicts")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_VERDICTS:
            raise bad_field("verdicts", f"must be a list of 1 to {MAX_VERDICTS:,} verdicts")
        verdicts = list(_verdicts(items, account.user_id))
        self.views.verdicts(catalog).record(verdicts)
        audit, facts = self._service.audit, {"catalog": catalog, "key": account.key_id}
        audit.record_often(AuditEvent.VERDICTS_GIVEN, account.user_id, **facts)
        return {"recorded": len(verdicts)}

    @service_errors()
    def file_key(self, catalog: str, file: str, token: str, of: str) -> str:
        """The object key of a picture or thumbnail of a catalog, or of a version of it."""
        self._links.check_grant(f"catalog {catalog}", token)
        key = self.views.known(catalog, of).files.get(file)
        if key is None:
            raise ServiceError(404, "This catalog has no such picture any more. Load the page again.")
        return key

    def _card(self, catalog: str) -> dict[str, object]:
        view, token = self.views.get(catalog), self._links.grant(f"catalog {catalog}")
        counts = view.counts(self.views.verdicts(catalog).standings())
        covers = [one.key.rpartition("/")[2] for one in view.thumbnails if one.key][:_COVERS]
        return {
            **self._head(self._registration(catalog)),
            "made_at_s": view.made_at_s,
            "counts": counts,
            "covers": covers,
            "token": token,
            "progress": live_progress(self._service.store, catalog),
        }

    def _dagster_url(self, catalog: str) -> str:
        """The catalog's page in Dagster, whose runs made it; "" if nobody has said where that is."""
        page = self._service.settings.alerts.ui_url.rstrip("/")
        return page and f"{page}/assets/{GALLERY}?partition={quote(catalog)}"

    def _head(self, registration: Registration) -> dict[str, object]:
        review = registration.review
        return {"name": registration.name, "file": registration.file, "review": asdict(review)}

    def _view(self, catalog: str, of: str) -> CatalogView:
        view = self.views.get(catalog, of)
        if of != NOW and not view.version:
            rule = f"Catalog {shown(catalog)} has no version {shown(of)} any more. GET …/versions lists those it has."
            raise ServiceError(404, rule)
        return view

    def _registration(self, catalog: str) -> Registration:
        try:
            return self._catalogs.get(catalog)
        except (CatalogError, InvalidKeyError) as exc:
            raise ServiceError(404, f"There is no catalog {shown(catalog)}. /catalogs lists them all.") from exc


def _edition(of: str) -> int | None:
    kind, _, number = of.partition("-")
    return int(number) if kind == "edition" else None


def _told(standing: Standing) -> Sequence[object]:
    return standing.state, standing.star, standing.reason, standing.by, standing.at_s


def _verdicts(items: Sequence[object], by: str) -> Iterator[Verdict]:
    for number, item in enumerate(items):
        place = f"verdicts.{number}"
        if not isinstance(item, dict):
            raise bad_field(place, "must be an object with recipe, row and state or star")
        for name in item.keys() - _FIELDS:
            raise bad_field(f"{place}.{name[:80]}", f"unknown field. It takes: {', '.join(sorted(_FIELDS))}")
        yield _verdict(place, item, by)


def _verdict(place: str, item: Mapping[str, Any], by: str) -> Verdict:
    state, star, reason = item.get("state"), item.get("star"), item.get("reason", "")
    for name, pattern in (("id", _ID), ("recipe", _RECIPE)):
        if not (isinstance(item.get(name), str) and pattern.fullmatch(item[name])):
            raise bad_field(f"{place}.{name}", f"{shown(item.get(name))} does not fit {pattern.pattern}")
    row = item.get("row")
    if not (isinstance(row, str) and 0 < len(row) <= MAX_REASON):
        raise bad_field(f"{place}.row", "must be the id of the catalog's row")
    if state not in (None, *State) or (state is None and star is None):
        raise bad_field(f"{place}.state", f"{shown(state)} is not one of {', '.join(State)}; or give only star")
    if not (star is None or isinstance(star, bool)):
        raise bad_field(f"{place}.star", "must be true or false")
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise bad_field(f"{place}.reason", f"must be text of at most {MAX_REASON} characters")
    known = State(state) if state else None
    return new_verdict(item["recipe"], row, by, id=item["id"], state=known, star=star, reason=one_line(reason))
