"""Settings of Dagster's web server, where operators look at runs and start them."""

import re

from pydantic import Field, field_validator

from foundation.problems import shown
from foundation.value_object import ValueObject

_NAME = re.compile(r"\[[0-9A-Fa-f:.]+\]|[\w-]+(\.[\w-]+)*", re.ASCII)


class WebServerSettings(ValueObject):
    """Whom Dagster's web server answers."""

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="names under which browsers reach Dagster's pages, beside this machine's and alerts.ui_url's",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _NAME.fullmatch(host):
                raise ValueError(f"{shown(host)} is not a host name without a port, like dagster.intern or [::1]")
        return value
