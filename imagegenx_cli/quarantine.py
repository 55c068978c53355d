"""`imagegenx quarantine`: what moderators rejected, and its release by a person."""

from collections.abc import Sequence
from dataclasses import asdict

from configs.settings import load_settings
from imagegenx_cli.terminal import print_json, say, say_table
from models.recipe import Recipe
from ops.quarantine import QUARANTINE, Quarantine
from resources.audit import AuditEvent, open_audit, this_person
from resources.open_store import open_store


def list_rejected(*, as_json: bool) -> None:
    """Print every rejected picture."""
    found = list(_quarantine().all())
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        rows = [(QUARANTINE + one.key, one.moderator, "; ".join(one.reasons)) for one in found]
        say_table([("picture", "rejected by", "why"), *rows])
    else:
        say("no picture is in quarantine.")


def release(keys: Sequence[str], why: str) -> None:
    """Allow these pictures; who does so is noted first, since a store may fail half-way."""
    quarantine, audit, person = _quarantine(), open_audit(load_settings()), this_person()
    for key in keys:
        found = quarantine.get(key.removeprefix(QUARANTINE))
        audit.record(AuditEvent.PICTURE_RELEASED, person, key=found.key, rejected_by=found.moderator, why=why)
        quarantine.release(found, person, why)
        seed = Recipe.from_json(found.recipe).seed
        say(f"released {found.key}. Materialize its catalog again, or ask for it again with seed {seed}.")


def _quarantine() -> Quarantine:
    store = open_store(load_settings().store)
    store.check()
    return Quarantine(store)
