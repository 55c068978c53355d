"""What reviewers may ask of a catalog, as it came in: other prompts, new seeds, an earlier version again."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from foundation.problems import shown
from gateway.errors import bad_field
from io_managers.image_set import ManifestRow
from models.admission import parse_request
from models.errors import InvalidRequestError
from models.registry import ModelRegistry
from ops.editions import RowChange
from ops.review.asked import Asked
from ops.review.catalog_view import CatalogView

MAX_ROWS = 5_000
"""Of one call."""
_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_FIELDS = {"edit": ("id", "texts"), "reseed": ("id", "rows"), "roll-back": ("id", "to", "rows")}


def read_wish(
    what: str,
    given: Mapping[str, Any],
    by: str,
    now: CatalogView,
    earlier: CatalogView | None,
    registry: ModelRegistry,
) -> Asked:
    """The wish in a call's body; 422 for one that cannot be.

    Args:
        now, earlier: the catalog as it is, and the version that it is to go back to.
    """
    for name in given.keys() - set(_FIELDS[what]):
        raise bad_field(name[:80], f"unknown field. It takes: {', '.join(_FIELDS[what])}")
    wish_id = given.get("id") or uuid4().hex
    if not (isinstance(wish_id, str) and _ID.fullmatch(wish_id)):
        raise bad_field("id", f"{shown(wish_id)} does not fit {_ID.pattern}")
    rows = {row.row_id: row for row in now.rows}
    if what == "edit":
        changes = dict(_texts(given.get("texts"), rows, registry))
    elif what == "reseed":
        changes = {row: RowChange(reseed=True) for row in _named(given.get("rows"), rows)}
    else:
        chosen = _named(given.get("rows"), rows) or list(rows)
        changes = dict(_earlier(chosen, rows, earlier or CatalogView(now.name)))
        if not changes:
            raise bad_field("to", "nothing to go back to: seeds and prompts of these rows are the same now")
    return Asked(now.name, wish_id, by, time.time(), changes)


def pictures_to_make(wish: Asked, now: CatalogView, earlier: CatalogView | None) -> int:
    """How many pictures must be generated: those of an earlier version are there, unless more than seed and prompt of
    them have changed since.
    """
    if not wish.rows:
        return len(now.rows)
    before = {row.row_id: row for row in earlier.rows} if earlier else {}
    rows = {row.row_id: row for row in now.rows}
    return sum(not _is_there(rows[row], before.get(row)) for row in wish.rows)


def _is_there(row: ManifestRow, before: ManifestRow | None) -> bool:
    if before is None or not (row.recipe and before.recipe):
        return False
    was, now = json.loads(before.recipe), json.loads(row.recipe)
    return bool({**now, "seed": was["seed"], "text": was["text"]} == was)


def _texts(given: object, rows: Mapping[str, ManifestRow], registry: ModelRegistry) -> Iterator[tuple[str, RowChange]]:
    if not (isinstance(given, dict) and given):
        raise bad_field("texts", "must be an object of row ids and their new prompts")
    for row_id in _named(list(given), rows):
        row, text, place = rows[row_id], given[row_id], f"texts.{row_id[:80]}"
        if not isinstance(text, str):
            raise bad_field(place, f"{shown(text)} is not text")
        if rule := _text_rule(text, row.model, registry):
            raise bad_field(place, rule)
        yield row_id, RowChange(text=text.strip(), shown=row.text)


def _text_rule(text: str, model: str, registry: ModelRegistry) -> str:
    """Why this cannot be a prompt for the model; "" if it can. What else a request needs, the row has."""
    try:
        request = parse_request({"text": text, "model_type": model}, registry)
    except InvalidRequestError as exc:
        ours = (problem for problem in exc.problems if problem.field == "text" or "lora" in problem.field)
        return next((problem.rule for problem in ours), "")
    return "names a LoRA; say that in the columns of the catalog's file" if request.params.chosen_loras else ""


def _named(given: object, rows: Mapping[str, ManifestRow]) -> list[str]:
    """The ids of a list, each of a row of the catalog; none if none is given. A list without any means nobody."""
    if given is None:
        return []
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_ROWS:
        raise bad_field("rows", f"must be a list of 1 to {MAX_ROWS:,} row ids; leave it out for all rows")
    for row_id in given:
        if not isinstance(row_id, str) or row_id not in rows:
            raise bad_field("rows", f"{shown(row_id)} is not a row that the catalog's last run had")
    return given


def _earlier(
    chosen: list[str], rows: Mapping[str, ManifestRow], earlier: CatalogView
) -> Iterator[tuple[str, RowChange]]:
    """What gives rows the seed and the prompt again that they had."""
    before = {row.row_id: row for row in earlier.rows}
    for row_id in chosen:
        row, was = rows[row_id], before.get(row_id)
        if was and was.seed is not None and (was.seed, was.text) != (row.seed, row.text):
            yield row_id, RowChange(seed=was.seed, text=was.text, shown=row.text)
