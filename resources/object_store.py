"""The object store, where pictures and manifests live: what every store promises, whichever service holds the bytes."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from foundation.errors import FailureCause, ImageGenXError
from foundation.problems import shown

MAX_KEY_BYTES = 900
MAX_KEY_PART_BYTES = 255
MAX_URL_EXPIRES_S = 7 * 24 * 3600
"""AWS Signature Version 4 allows no longer life of a presigned URL."""
TEMP_FOLDER = ".imagegenx-tmp"
"""Where a local store writes objects before they appear; no key may begin with it, in any store."""

CHUNK_BYTES = 1 << 20
"""Of what `read` gives at a time."""

CHECK = b"Written by ImageGenX to see that it can be.\n" * 100
"""What `check` writes; above a disk's block, so that it needs room."""


class StoreError(ImageGenXError):
    """Root of the object store's errors."""

    cause = FailureCause.STORE


class InvalidKeyError(StoreError):
    """A key breaks a rule of `check_key`, or clashes with another key in a store made of files."""

    def __init__(self, key: str, rule: str) -> None:
        self.key = key
        super().__init__(f"key {shown(key)}: {rule}. Use a relative path such as 'pictures/0a/0a1b.webp'.")


class InvalidExpiryError(StoreError):
    """A presigned URL cannot live that long, or that short."""


class ObjectNotFoundError(StoreError):
    """The store works, and holds nothing under this key."""

    def __init__(self, key: str, where: str) -> None:
        self.key = key
        super().__init__(f"no object {shown(key)} in {where}. Run again what makes it, or correct the key.")


class StoreUnavailableError(StoreError):
    """The store cannot be reached or cannot work now; the same call may succeed later."""


class StoreAccessError(StoreError):
    """The store refuses, or is configured wrongly; the same call fails until a person changes that."""


@dataclass(frozen=True)
class StoredObject:
    """What a store knows about an object; `etag` is opaque and changes when the object is written anew.

    `written_s` is when that was, by the store's clock, in seconds since 1970; 0 where the store has not said (S3 says
    it in `stat` and `list`, to the second).
    """

    key: str
    size_bytes: int
    etag: str
    written_s: float = field(default=0.0, compare=False)


class ObjectStore(Protocol):
    """Bytes under keys. Safe to use from many threads; nothing is opened or reached before the first call.

    Every method raises StoreUnavailableError or StoreAccessError when the store itself fails, and InvalidKeyError
    for a key that `check_key` refuses.
    """

    def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Write or replace an object, whole or not at all; of concurrent writers of one key, the last wins."""
        ...

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            ObjectNotFoundError: if there is none.
        """
        ...

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The object's bytes from `start` on, in chunks of about a megabyte; the errors of `get` come with the first.

        What breaks off raises StoreUnavailableError, and may be continued.
        """
        ...

    def stat(self, key: str) -> StoredObject | None:
        """What the store knows about the object, or None if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose key starts with `prefix` (any text, not only whole folders), in UTF-8 order of keys."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        ...

    def url(self, key: str, expires_s: int | None = None, *, download_as: str = "") -> str:
        """A URL that downloads the object: presigned for `expires_s` (default: configured), or a file URI.

        With `download_as` a browser saves it under that name; a file URI cannot say so.

        The object need not exist yet. Who has the URL can read the object: never write it to a log.

        Raises:
            InvalidExpiryError: below 1 s or above 7 days.
        """
        ...

    def check(self) -> None:
        """Find out whether the store takes what is written to it, and make its bucket or folder if missing."""
        ...


def disposition(name: str) -> str:
    """The header Content-Disposition that saves what is sent under this name (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def check_key(key: str) -> None:
    """Refuse keys that some store could not hold, or that could reach outside it.

    Raises:
        InvalidKeyError: saying which rule is broken.
    """
    rule = _broken_text_rule(key) or _broken_path_rule(key)
    if rule:
        raise InvalidKeyError(key, rule)


def check_prefix(prefix: str) -> None:
    """Refuse prefixes that no key can start with because of their characters or length (InvalidKeyError)."""
    if rule := _broken_text_rule(prefix):
        raise InvalidKeyError(prefix, rule)


def is_key(name: str) -> bool:
    """Whether `check_key` accepts it; names that others put into the store may not be keys."""
    return not (_broken_text_rule(name) or _broken_path_rule(name))


def check_expiry(expires_s: int) -> int:
    """The life of a presigned URL in seconds, if it is allowed.

    Raises:
        InvalidExpiryError: below 1 s or above 7 days.
    """
    if not 1 <= expires_s <= MAX_URL_EXPIRES_S:
        raise InvalidExpiryError(f"expires_s {expires_s}: a URL lives 1 to {MAX_URL_EXPIRES_S} seconds (7 days).")
    return expires_s


def _broken_text_rule(text: str) -> str:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate), which is not Unicode text"
    if size_bytes > MAX_KEY_BYTES:
        return f"{size_bytes} bytes in UTF-8 are above the maximum of {MAX_KEY_BYTES}"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "it holds a control character, such as NUL or a line break"
    return ""


def _broken_path_rule(key: str) -> str:
    parts = key.split("/")
    if key.startswith("/"):
        return "it begins with '/', but keys are relative"
    if not all(part.strip() for part in parts):
        return "it is empty, ends with '/', or has an empty part"
    if "." in parts or ".." in parts:
        return "'.' and '..' are not allowed as parts"
    if any(len(part.encode()) > MAX_KEY_PART_BYTES for part in parts):
        return f"a part between '/' is longer than {MAX_KEY_PART_BYTES} bytes in UTF-8"
    if parts[0] == TEMP_FOLDER:
        return f"'{TEMP_FOLDER}' is reserved for unfinished writes"
    return ""
