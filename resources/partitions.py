"""Dagster's dynamic partitions, added by several processes at once."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance


def add_partitions(instance: "DagsterInstance", definition: str, keys: Iterable[str]) -> None:
    """Make keys partitions of a dynamic definition; some may be that already.

    Dagster looks which are there and then inserts the others: where another process has inserted one in between, it
    looks again, once for each key at most. The instance remembers them: see `were_partitions`.
    """
    from sqlalchemy.exc import IntegrityError

    wanted = list(keys)
    if not wanted:
        return
    for _ in wanted:
        with suppress(IntegrityError):
            instance.add_dynamic_partitions(definition, wanted)
            break
    else:
        instance.add_dynamic_partitions(definition, wanted)
    instance.daemon_cursor_storage.set_cursor_values({_noted(definition, key): "added" for key in wanted})


def were_partitions(instance: "DagsterInstance", definition: str, keys: Iterable[str]) -> set[str]:
    """Those of these keys that have been partitions of this instance: if they are none now, somebody deleted them."""
    noted = {_noted(definition, key): key for key in keys}
    found = instance.daemon_cursor_storage.get_cursor_values(set(noted)) if noted else {}
    return {noted[place] for place in found}


def _noted(definition: str, key: str) -> str:
    return f"imagegenx/partition/{definition}/{key}"
