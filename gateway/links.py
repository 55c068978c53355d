"""Stable URLs of finished pictures, which download without an API key."""

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import SplitResult, parse_qs, urlsplit

from gateway.errors import ServiceError
from resources.queue import Task, TaskPicture

Kind = Literal["original", "thumb"]

GRANT_STEP_S = 24 * 3600
"""A grant lives one to two of these, and is the same for all of one, so that browsers keep what it opens."""
_MAC_BYTES = 16
_TOKEN = re.compile(r"([0-9a-f]{1,12})\.([\w-]{1,2048})\.([\w-]{22})", re.ASCII)
"""When it expires (Unix time, hexadecimal), the key and the MAC, both in URL-safe base64."""
_EXPIRES = re.compile(r"[0-9a-f]{1,12}", re.ASCII)
_PATH = re.compile(r"/api/v1/image/file/([\w.-]{1,128})/(original|thumb)", re.ASCII)


@dataclass(frozen=True)
class PicturePlace:
    """What the URL of a picture says; `is_here` tells that its host is ours, beyond all doubt."""

    task_id: str
    kind: Kind
    number: int
    token: str
    is_here: bool


class PictureLinks:
    """Makes and reads URLs whose token names an object and carries an HMAC-SHA256 over all that the URL says.

    Such a URL stays the same however often the task is asked for, needs no entry in Redis, and ends `ttl_s` after
    its task. Only who was shown it can know it.
    """

    def __init__(self, secret: bytes, base_url: str, ttl_s: int) -> None:
        self._secret = secret
        self._base_url = base_url.rstrip("/")
        self._ttl_s = ttl_s

    def absolute(self, path: str, base_url: str = "") -> str:
        """The URL of a path of this gateway, below `base_url` or the configured address."""
        return f"{base_url.rstrip('/') or self._base_url}{path}"

    def url(self, task: Task, picture: TaskPicture, kind: Kind, base_url: str = "") -> str:
        """The URL of a finished task's picture."""
        key = picture.original_key if kind == "original" else picture.thumb_key
        expires_s = int(task.updated_at_s) + self._ttl_s
        token = f"{expires_s:x}.{_encoded(key.encode())}.{self._mac(task.name, kind, expires_s, key)}"
        return self.absolute(f"/api/v1/image/file/{task.name}/{kind}?token={token}", base_url)

    def events_path(self, task: Task) -> str:
        """The path of a task's events, with its stored id, that needs no key: `EventSource` of browsers sends none."""
        expires_s = int(task.created_at_s) + self._ttl_s
        return f"/api/v1/image/task/{task.id}/events?token={expires_s:x}.{self._events_mac(task.id, expires_s)}"

    def check_events(self, stored_id: str, token: str) -> None:
        """Refuse a token that does not open the events of the task of this stored id; ServiceError 403."""
        expires, _, mac = token.partition(".")
        if not _EXPIRES.fullmatch(expires):
            raise _refused("This is not a token of a task's events.")
        if not hmac.compare_digest(mac.encode(), self._events_mac(stored_id, int(expires, 16)).encode()):
            raise _refused("The token does not belong to this task's events.")
        if int(expires, 16) < time.time():
            raise _refused("This address of events has expired.")

    def grant(self, what: str) -> str:
        """A token that opens the files of `what` until it expires, for pages whose pictures send no key."""
        expires_s = int(time.time()) // GRANT_STEP_S * GRANT_STEP_S + 2 * GRANT_STEP_S
        return f"{expires_s:x}.{self._mac(what, 'grant', expires_s, '')}"

    def check_grant(self, what: str, token: str) -> None:
        """Refuse a token that `grant` did not give for this, or that has expired; ServiceError 403."""
        expires, _, mac = token.partition(".")
        expires_s = int(expires, 16) if _EXPIRES.fullmatch(expires) else 0
        is_ours = hmac.compare_digest(mac.encode(), self._mac(what, "grant", expires_s, "").encode())
        if not is_ours or expires_s < time.time():
            raise ServiceError(403, "This address of a picture has expired. Load the page again.")

    def _events_mac(self, stored_id: str, expires_s: int) -> str:
        return self._mac(stored_id, "events", expires_s, "")

    def place(self, url: str) -> PicturePlace | None:
        """What a URL of the form of ours names; None for any other.

        A gateway may be known by more hosts than it knows itself: whether a URL of another one is ours, its token says.
        """
        parts = _split(url)
        path = _PATH.fullmatch(parts.path) if parts and parts.scheme in ("http", "https") else None
        if parts is None or path is None:
            return None
        query = parse_qs(parts.query)
        token, number = query.get("token", [""])[0], query.get("number", ["1"])[0]
        if not (number.isascii() and number.isdigit() and len(number) < 3):
            return None
        is_here = parts.netloc == urlsplit(self._base_url).netloc
        return PicturePlace(path[1], cast("Kind", path[2]), int(number), token, is_here)

    def key(self, task_id: str, kind: str, token: str) -> str:
        """The object key that a token names.

        Raises:
            ServiceError: 403 if this gateway did not make it, or it has expired.
        """
        parts = _TOKEN.fullmatch(token)
        if not parts:
            raise _refused("This is not a token of a picture URL.")
        expires_s, mac = int(parts[1], 16), parts[3]
        try:
            key = _decoded(parts[2]).decode()
        except ValueError:
            raise _refused("This is not a token of a picture URL.") from None
        if not hmac.compare_digest(mac.encode(), self._mac(task_id, kind, expires_s, key).encode()):
            raise _refused("The token does not belong to this picture.")
        if expires_s < time.time():
            raise _refused("This picture URL has expired.")
        return key

    def _mac(self, task_id: str, kind: str, expires_s: int, key: str) -> str:
        named = "\n".join((task_id, kind, str(expires_s), key)).encode("utf-8", "surrogatepass")
        return _encoded(hmac.digest(self._secret, named, hashlib.sha256)[:_MAC_BYTES])


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _refused(what: str) -> ServiceError:
    return ServiceError(403, f"{what} Ask for the task again, or send an API key in the header X-API-Key.")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
