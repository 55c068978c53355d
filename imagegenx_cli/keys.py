"""`imagegenx keys`: the API keys of the gateway's users."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import ImageGenXError
from configs.settings import load_settings
from imagegenx_cli.terminal import say, say_table
from resources.accounts import Account, Accounts, open_accounts

_COLUMNS = ("key", "user", "role", "qps", "created", "expires")


class NoSuchKeyError(ImageGenXError):
    """No API key is named like this."""

    def __init__(self) -> None:  # the text never repeats what was given: it may be a key after all
        super().__init__(
            "There is no such API key. `imagegenx keys list` shows the beginning of each; either form does."
        )


def create_key(user: str, role: str, qps: int | None) -> None:
    """Print a new API key, alone on the last line; it cannot be shown again."""
    with _accounts() as accounts:
        key = accounts.create(user, role, qps)
        account = accounts.authenticate(key)
    expires = _day(account.expires_at_s)
    say(
        f"API key of {account.user_id}: {account.role}, {account.qps_limit} calls a second, until {expires}."
        " Keep it: it is shown this once.\n"
    )
    say(key)


def revoke_key(key: str) -> None:
    """Make a key worthless at once, given whole or as `keys list` shows it."""
    with _accounts() as accounts:
        if not accounts.revoke(key):
            raise NoSuchKeyError
    say("Revoked.")


def list_keys() -> None:
    """Print every key's beginning, user, role, limit and days."""
    with _accounts() as accounts:
        rows = [_COLUMNS, *(_cells(account) for account in accounts.list())]
    say_table(rows)


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
    return (account.key_id, account.user_id, account.role.value, str(account.qps_limit), *days)


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))
