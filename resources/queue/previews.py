"""Small pictures of requests that are being made, for as long as somebody watches."""

from collections.abc import Mapping

from foundation.value_object import ValueObject
from resources.queue.link import RedisLink
from resources.queue.worker import Claim

WATCHED_S = 10
"""Who watches says so again within this time."""


class Preview(ValueObject):
    """How far one picture of a request is; `number` counts from 1, `jpeg` is in base64."""

    number: int
    progress: int
    jpeg: str


class Previews:
    """A part of the request queue."""

    _link: RedisLink

    def watch(self, task_id: str) -> None:
        """Somebody wants to see previews of this task; whoever works on it is told when it next tells its progress."""
        self._link.call(lambda client: client.set(f"{self._link.prefix}watched:{task_id}", "1", ex=WATCHED_S))

    def show(self, claim: Claim, preview: Preview) -> None:
        """Show a preview to those who watch, who are told by `changes`; nothing if the task is the worker's no more."""
        arguments = {"id": claim.id, "token": str(claim.token), "number": preview.number}
        self._link.run("show", {**arguments, "preview": preview.model_dump_json()})

    def previews(self, task_id: str) -> Mapping[int, Preview]:
        """The latest preview of each picture that is being made."""
        found = self._link.call(lambda client: client.hvals(f"{self._link.prefix}previews:{task_id}"))
        previews = [Preview.model_validate_json(value) for value in found]
        return {preview.number: preview for preview in previews}
