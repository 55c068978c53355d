"""Dagster's dynamic partitions, added by several processes at once."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance


def add_partitions(instance: "DagsterInstance", definition: str, keys: Iterable[str]) -> None:
    """Make keys partitions of a dynamic definition; some may be that already.

    Dagster looks which are there and then inserts the others: where another process has inserted one in between, it
    looks again, once for each key at most.
    """
    from sqlalchemy.exc import IntegrityError

    wanted = list(keys)
    for _ in wanted:
        try:
            instance.add_dynamic_partitions(definition, wanted)
        except IntegrityError:
            continue
        return
    instance.add_dynamic_partitions(definition, wanted)
