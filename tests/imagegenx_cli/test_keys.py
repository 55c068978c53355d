import json

import pytest

from configs.settings import load_settings
from resources.accounts import UnknownKeyError, open_accounts


@pytest.fixture
def accounts(home):
    """The accounts the command works on: those of the home folder's private Redis."""
    accounts = open_accounts(load_settings())
    yield accounts
    accounts.close()


def test_a_new_key_is_alone_on_the_last_line_and_works(imagegenx, accounts):
    status, output, error = imagegenx("keys", "create", "--user", "ann", "--role", "paid", "--qps", "5")

    key = output.splitlines()[-1]
    account = accounts.authenticate(key)
    assert (status, error) == (0, "")
    assert (account.user_id, account.role, account.qps_limit) == ("ann", "paid", 5)
    assert output.count(key) == 1
    assert output.startswith("API key of ann: paid, 5 calls a second, until 2")


def test_a_revoked_key_works_no_more(imagegenx, accounts):
    key = imagegenx("keys", "create", "--user", "ann")[1].splitlines()[-1]

    assert imagegenx("keys", "revoke", key) == (0, "Revoked.\n", "")

    with pytest.raises(UnknownKeyError):
        accounts.authenticate(key)
    status, output, error = imagegenx("keys", "revoke", key)
    assert (status, output) == (1, "")
    assert error.startswith("error: There is no such API key.")
    assert key not in error


def test_the_list_shows_whose_keys_there_are_and_no_key(imagegenx):
    key = imagegenx("keys", "create", "--user", "ann")[1].splitlines()[-1]

    status, output, _ = imagegenx("keys", "list")

    head, row = output.splitlines()
    assert status == 0
    assert head.split() == ["key", "user", "role", "qps", "scopes", "created", "expires"]
    assert row.split()[:5] == [key[:12], "ann", "free", "30", "submit,read"]
    assert key not in output


def test_a_wrong_role_is_one_clear_line(imagegenx):
    status, _, error = imagegenx("keys", "create", "--user", "ann", "--role", "gold")

    assert (status, error) == (1, "error: role: 'gold' is not one of free, paid.\n")


def test_a_key_has_the_days_and_the_scopes_it_is_given(imagegenx, accounts):
    restricted = ("--expires", "7", "--scopes", "read, operate")
    key = imagegenx("keys", "create", "--user", "ann", *restricted)[1].splitlines()[-1]

    account = accounts.authenticate(key)
    assert (account.expires_at_s - account.created_at_s, account.scopes) == (7 * 24 * 3600, ("read", "operate"))
    assert "read,operate" in imagegenx("keys", "list")[1]
    status, _, error = imagegenx("keys", "create", "--user", "ann", "--scopes", "admin")
    assert (status, error) == (1, "error: scopes.0: 'admin' is not one of submit, read, operate, review.\n")


def test_the_audit_log_tells_who_made_and_revoked_which_key(imagegenx, home):
    key = imagegenx("keys", "create", "--user", "ann")[1].splitlines()[-1]
    imagegenx("keys", "revoke", key)

    status, output, _ = imagegenx("audit", "--event", "key", "--json")

    made, revoked = json.loads(output)
    assert status == 0
    assert (made["event"], made["key"], made["user_id"]) == ("key.created", key[:12], "ann")
    assert (revoked["event"], revoked["key"], revoked["who"]) == ("key.revoked", key[:12], made["who"])
    assert "@" in made["who"]
    assert key not in output
    assert (home / "audit/audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert imagegenx("audit", "--limit", "1")[1].splitlines()[1:] != []
    assert imagegenx("audit", "--event", "login")[1].split() == ["at", "event", "who", "what"]
