"""How the fleet computes: what workers announce, so that catalogs know which pictures they would get."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace

from models.placement import Placement
from resources.queue.link import RedisLink

NONE: Mapping[str, str] = {}


class Placements:
    """The part of the queue that tells how models run where the workers are."""

    _link: RedisLink

    def announce(self, placements: Mapping[str, Placement], unusable: Mapping[str, str] = NONE) -> None:
        """Say how models run on the calling worker, by name; which of several devices it is does not matter.

        Args:
            unusable: why others cannot run there.
        """
        if reasons := [word for item in unusable.items() for word in item]:
            self._link.call(lambda client: client.hset(f"{self._key}:unusable", items=reasons))
        told = [word for name, one in placements.items() for word in (name, json.dumps(asdict(_on_any_device(one))))]
        if told:
            self._link.call(lambda client: client.hset(self._key, items=told))

    def unusable(self) -> dict[str, str]:
        """Why models cannot run where that was tried last, of those that no worker has announced."""
        told = self._link.call(lambda client: client.hgetall(f"{self._key}:unusable"))
        return {str(name): str(reason) for name, reason in told.items() if name not in self.placements()}

    def placements(self) -> dict[str, Placement]:
        """How models run on the worker that announced each last; it may live no more."""
        told = self._link.call(lambda client: client.hgetall(self._key))
        return {str(name): Placement(**json.loads(text)) for name, text in told.items()}

    @property
    def _key(self) -> str:
        return f"{self._link.prefix}placements"


def _on_any_device(placement: Placement) -> Placement:
    return replace(placement, device=placement.device.partition(":")[0])
