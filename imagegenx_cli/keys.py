"""`imagegenx keys`: the API keys of the gateway's users, and the secret that signs its callbacks."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from configs.settings import Settings, load_settings
from foundation.errors import ImageGenXError
from gateway.callback_secret import callback_secret
from imagegenx_cli.terminal import say, say_table
from resources.accounts import ID_CHARACTERS, Account, Accounts, open_accounts
from resources.audit import AuditEvent, open_audit, this_person

_COLUMNS = ("key", "user", "role", "qps", "scopes", "created", "expires")


class NoSuchKeyError(ImageGenXError):
    """No API key is named like this."""

    def __init__(self) -> None:  # the text never repeats what was given: it may be a key after all
        super().__init__(
            "There is no such API key. `imagegenx keys list` shows the beginning of each; either form does."
        )


def create_key(user: str, role: str, qps: int | None, expires_days: int | None, scopes: Sequence[str]) -> None:
    """Print a new API key, alone on the last line; it cannot be shown again. What cannot be shown is revoked."""
    with _accounts() as accounts:
        key = accounts.create(user, role, qps, expires_days=expires_days, scopes=scopes)
        try:
            account = accounts.authenticate(key)
            record_new_key(load_settings(), account)
            _show(key, account)
        except BaseException:  # a full disk, a closed pipe, Ctrl-C
            accounts.revoke(key)
            record_revoked(load_settings(), key)
            raise


def _show(key: str, account: Account) -> None:
    expires = _day(account.expires_at_s)
    say(
        f"API key of {account.user_id}: {account.role}, {account.qps_limit} calls a second, until {expires}."
        " Keep it: it is shown this once.\n"
    )
    say(key)


def record_new_key(settings: Settings, account: Account) -> None:
    """Tell the audit log of a key that this person made."""
    facts = account.model_dump(mode="json", include={"user_id", "role", "qps_limit", "scopes"})
    expires = _day(account.expires_at_s)
    open_audit(settings).record(AuditEvent.KEY_CREATED, this_person(), key=account.key_id, expires=expires, **facts)


def revoke_key(key: str) -> None:
    """Make a key worthless at once, given whole or as `keys list` shows it."""
    with _accounts() as accounts:
        if not accounts.revoke(key):
            raise NoSuchKeyError
    record_revoked(load_settings(), key)
    say("Revoked.")


def list_keys() -> None:
    """Print every key's beginning, user, role, limit and days."""
    with _accounts() as accounts:
        rows = [_COLUMNS, *(_cells(account) for account in accounts.list())]
    say_table(rows)


def record_revoked(settings: Settings, key: str) -> None:
    """Tell the audit log of a key that this person made worthless."""
    open_audit(settings).record(AuditEvent.KEY_REVOKED, this_person(), key=key[:ID_CHARACTERS])


@contextmanager
def _accounts() -> Iterator[Accounts]:
    accounts = open_accounts(load_settings())
    try:
        yield accounts
    finally:
        accounts.close()


def _cells(account: Account) -> tuple[str, ...]:
    expired = account.expires_at_s <= time.time()
    expires = _day(account.expires_at_s) + (" (expired)" if expired else "")
    days = (_day(account.created_at_s), expires)
    return (
        account.key_id,
        account.user_id,
        account.role.value,
        str(account.qps_limit),
        ",".join(account.scopes),
        *days,
    )


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))


def print_webhook_secret() -> None:
    """Print the secret alone on a line, ready for a receiver's configuration."""
    say(callback_secret(load_settings()))
