"""API keys: who may call, how often, and until when."""

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, ValidationError

from configs.queue_settings import QueueSettings
from configs.settings import Settings
from foundation.errors import ImageGenXError
from foundation.problems import shown, validation_problems
from foundation.value_object import ValueObject
from resources.queue.jobs import CATALOG_OWNER
from resources.queue.link import RedisLink

if TYPE_CHECKING:
    from redis import Redis

KEY_PREFIX = "igx_"
RATE_WINDOW_S = 1
_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
ID_CHARACTERS = len(KEY_PREFIX) + 8
_SECRET_BYTES = 32
_REMEMBERED_S = 7 * 24 * 3600
"""An expired key is told from an unknown one for so long."""


class AccountError(ImageGenXError):
    """Root of the errors of accounts and API keys."""


class InvalidAccountError(AccountError):
    """An account cannot be made like this."""


class UnknownKeyError(AccountError):
    """No account has this API key; it may have been revoked."""

    def __init__(self) -> None:
        super().__init__("This API key is unknown or was revoked. Ask for a new one.")


class ExpiredKeyError(AccountError):
    """The API key was valid once."""

    def __init__(self, key_id: str, expired_at_s: float) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime(expired_at_s))
        super().__init__(f"API key {key_id}… expired on {day}. Ask for a new one.")


class RateLimitedError(AccountError):
    """The API key made more calls than it may; try again after `retry_after_s`."""

    def __init__(self, account: "Account") -> None:
        self.retry_after_s = RATE_WINDOW_S
        super().__init__(f"API key {account.key_id}… may make {account.qps_limit} calls a second. Wait a moment.")


class MissingScopeError(AccountError):
    """The API key may not do this."""

    def __init__(self, account: "Account", scopes: Sequence["Scope"]) -> None:
        self.key_id = account.key_id
        wanted = " or ".join(f"'{scope}'" for scope in scopes)
        super().__init__(
            f"API key {account.key_id}… has not the scope {wanted}, only {', '.join(account.scopes)}. "
            "Use a key that has it."
        )


class Scope(StrEnum):
    """What an API key may be used for."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"
    REVIEW = "review"


USER_SCOPES = (Scope.SUBMIT, Scope.READ)
"""What keys may do that nobody restricted, as all could before there were scopes."""


class Role(StrEnum):
    """What an account pays."""

    FREE = "free"
    PAID = "paid"


def _user_id(text: str) -> str:
    if not (0 < len(text) <= 128 and text.isprintable() and text == text.strip()):
        raise ValueError(f"{shown(text)} is not a user: 1 to 128 printable characters, no space at the ends")
    if text.startswith(CATALOG_OWNER):
        raise ValueError(f"{shown(text)} is not a user: those that begin with '{CATALOG_OWNER}' are catalogs")
    return text


class Account(ValueObject):
    """Who an API key belongs to. `key_id` is the beginning of the key: it names the key, but opens nothing."""

    user_id: Annotated[str, AfterValidator(_user_id)]
    role: Role
    qps_limit: int = Field(ge=1, le=100_000, description="calls a second")
    key_id: str
    created_at_s: float = Field(description="Unix time")
    expires_at_s: float = Field(description="Unix time")
    scopes: tuple[Scope, ...] = USER_SCOPES

    def require(self, *scopes: Scope) -> None:
        """Raise MissingScopeError if there are scopes and the key has none of them."""
        if scopes and not set(scopes) & set(self.scopes):
            raise MissingScopeError(self, scopes)


class Accounts:
    """The API keys in Redis, each stored under its SHA-256: who reads Redis learns no key.

    Keys have 256 random bits, so that a plain digest cannot be guessed back. Every call asks Redis: a key that is
    revoked is refused from the next call on, in every process. Safe to use from many threads. Any call may raise
    QueueUnavailableError.
    """

    def __init__(self, link: RedisLink, settings: QueueSettings) -> None:
        self._link = link
        self._settings = settings

    def create(
        self,
        user: str,
        role: str = Role.FREE,
        qps: int | None = None,
        *,
        expires_days: int | None = None,
        scopes: Sequence[str] = USER_SCOPES,
    ) -> str:
        """A new API key for a user; nobody can show it again.

        Args:
            qps: calls a second; None takes the configured `default_qps`.
            expires_days: days that the key is good for; None takes the configured `key_ttl_s`.
        Raises:
            InvalidAccountError: naming what is wrong.
        """
        key = KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        lasts_s = self._settings.key_ttl_s if expires_days is None else expires_days * 24 * 3600
        account = self._account(user, role, qps, key[:ID_CHARACTERS], lasts_s, scopes)
        remembered_s = lasts_s + _REMEMBERED_S
        stored = self._record(key)

        def write(client: "Redis") -> None:
            with client.pipeline(transaction=True) as both:
                both.set(stored, account.model_dump_json(), ex=remembered_s)
                both.hset(self._index, account.key_id, stored)
                both.execute()

        self._link.call(write)
        return key

    def revoke(self, key_or_id: str) -> bool:
        """Make a key, given whole or as its `key_id`, worthless at once; False if there is none."""
        key_id = key_or_id[:ID_CHARACTERS]
        whole = len(key_or_id) > ID_CHARACTERS

        def remove(client: "Redis") -> bool:
            stored = client.hget(self._index, key_id)
            if stored is None or (whole and stored != self._record(key_or_id)):
                return False
            with client.pipeline(transaction=True) as both:
                both.delete(str(stored))
                both.hdel(self._index, key_id)
                return bool(both.execute()[0])

        return self._link.call(remove)

    def list(self) -> list[Account]:
        """Every account that is remembered, oldest first; expired ones for a week more."""
        records = self._link.call(lambda client: client.hgetall(self._index))
        values = self._link.call(lambda client: client.mget(list(records.values()))) if records else []
        forgotten = [id for id, value in zip(records, values, strict=True) if value is None]
        if forgotten:
            self._link.call(lambda client: client.hdel(self._index, *forgotten))
        accounts = [Account.model_validate_json(value) for value in values if value is not None]
        return sorted(accounts, key=lambda account: (account.created_at_s, account.key_id))

    def authenticate(self, key: str) -> Account:
        """The account of an API key.

        Raises:
            UnknownKeyError: nobody has it, or it was revoked.
            ExpiredKeyError: it has expired.
        """
        stored = self._stored(key)
        return _live_account(self._link.call(lambda client: client.get(stored)))

    def admit(self, key: str, *scopes: Scope) -> Account:
        """`authenticate`, for one call: the key must have one of these scopes, if there are some.

        Calls are counted by a sliding window of one second that all processes share. One round trip.

        Raises:
            MissingScopeError: the key has none of the scopes.
            RateLimitedError: it has made its `qps_limit` calls; this one is not counted.
        """
        value, may = self._link.run("admit", {"record": self._stored(key)}) or (None, 0)
        account = _live_account(value)
        account.require(*scopes)
        if not may:
            raise RateLimitedError(account)
        return account

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._link.close()

    @property
    def _index(self) -> str:
        """The hash from key ids to records."""
        return f"{self._link.prefix}keys"

    def _stored(self, key: str) -> str:
        """Where the account of a key is, if there is one."""
        if not _KEY.fullmatch(key):
            raise UnknownKeyError
        return self._record(key)

    def _record(self, key: str) -> str:
        return f"{self._link.prefix}key:{hashlib.sha256(key.encode()).hexdigest()}"

    def _account(
        self, user: str, role: str, qps: int | None, key_id: str, lasts_s: int, scopes: Sequence[str]
    ) -> Account:
        now_s = time.time()
        fields = {
            "user_id": user,
            "role": role,
            "qps_limit": self._settings.default_qps if qps is None else qps,
            "key_id": key_id,
            "created_at_s": now_s,
            "expires_at_s": now_s + lasts_s,
            "scopes": tuple(dict.fromkeys(scopes)),
        }
        try:
            return Account.model_validate(fields)
        except ValidationError as exc:
            raise InvalidAccountError("\n".join(map(str, validation_problems(exc, Account)))) from None


def _live_account(value: str | bytes | None) -> Account:
    if value is None:
        raise UnknownKeyError
    account = Account.model_validate_json(value)
    if account.expires_at_s <= time.time():
        raise ExpiredKeyError(account.key_id, account.expires_at_s)
    return account


def open_accounts(settings: Settings, link: RedisLink | None = None) -> Accounts:
    """The accounts of the configured Redis, or of the private one. Reaches nothing yet."""
    return Accounts(link or RedisLink(settings.queue), settings.queue)
