"""The engine as a Dagster resource: a thin handle, since Dagster sets a resource up once per run and step."""

from typing import TYPE_CHECKING

from dagster import ConfigurableResource, ResourceDependency
from pydantic import PrivateAttr

from models.registry import ModelRegistry
from resources.own_gpu import with_own_gpu
from resources.settings_resource import SettingsResource
from resources.weight_store import open_loading_registry

if TYPE_CHECKING:
    from models.engine import Engine


class GPUEngine(ConfigurableResource[None]):
    """The models of this process and the engine that runs them.

    The handle comes and goes with a step; the loaded models belong to the process and stay warm for the next one.
    Nothing is read or loaded before the first use, and PyTorch is imported only where pictures are computed.
    """

    settings: ResourceDependency[SettingsResource]
    _registry: ModelRegistry | None = PrivateAttr(default=None)
    _engine: "Engine | None" = PrivateAttr(default=None)

    @property
    def registry(self) -> ModelRegistry:
        """The models by name. Raises ConfigError listing every problem of every model card."""
        if self._registry is None:
            self._registry = open_loading_registry(self.settings.current)
        return self._registry

    @property
    def engine(self) -> "Engine":
        """The engine over this process's warm models."""
        if self._engine is None:
            from models.engine import BatchingEngine

            self._engine = BatchingEngine(self.registry, with_own_gpu(self.settings.current).engine)
        return self._engine
