"""Callers that wait for a task: the last one that came decides whether it is still wanted."""

import secrets

from resources.queue.link import RedisLink

_KEPT_S = 3600


class Callers:
    """A part of the request queue."""

    _link: RedisLink

    def note_caller(self, task_id: str) -> str:
        """Somebody begins to wait for a task; returns what `is_last_caller` knows them by, in every gateway."""
        token = secrets.token_hex(8)
        self._link.call(lambda client: client.set(self._caller_key(task_id), token, ex=_KEPT_S))
        return token

    def is_last_caller(self, task_id: str, token: str) -> bool:
        """Whether nobody has begun to wait for the task since."""
        return bool(self._link.call(lambda client: client.get(self._caller_key(task_id))) == token)

    def _caller_key(self, task_id: str) -> str:
        return f"{self._link.prefix}caller:{task_id}"
