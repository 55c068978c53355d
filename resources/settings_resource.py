"""The settings as a Dagster resource."""

from dagster import ConfigurableResource
from pydantic import PrivateAttr

from configs.settings import Settings, load_settings


class SettingsResource(ConfigurableResource[None]):
    """The settings of the process that runs an asset: read at the first use, never while definitions load."""

    _settings: Settings | None = PrivateAttr(default=None)

    @property
    def current(self) -> Settings:
        """The checked settings. Raises ConfigError listing every problem."""
        if self._settings is None:
            self._settings = load_settings()
        return self._settings
