"""What Dagster's pages show of every job, sensor and schedule beside its description: its owner and its part."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

from dagster import BetaWarning, SensorDefinition, sensor

from resources.dagster_names import OWNERS

Part = Literal["lifecycle", "serving", "operations"]
"""What a job, sensor or schedule is part of; assets have groups for it."""

_Evaluate = Callable[..., Any]


def part_tags(part: Part) -> dict[str, str]:
    """The tags that say the part and the owner.

    Jobs, schedules and automation sensors say their owner in no other way: with `owners`, Dagster warns of it in every
    process that uses them.
    """
    return {"imagegenx/part": part, "owner": OWNERS[0]}


def owned_sensor(part: Part, **attributes: Any) -> Callable[[_Evaluate], SensorDefinition]:
    """Dagster's `sensor`, with the owners and the tags of a part."""

    def declare(evaluate: _Evaluate) -> SensorDefinition:
        # Owners of sensors are announced as subject to change.
        with warnings.catch_warnings(action="ignore", category=BetaWarning):
            return sensor(owners=OWNERS, tags=part_tags(part), **attributes)(evaluate)

    return declare
