import logging
import subprocess
import sys
import time
import uuid

import pytest
from redis import Redis

from configs.queue_settings import QueueSettings
from resources.accounts import (
    Accounts,
    ExpiredKeyError,
    InvalidAccountError,
    RateLimitedError,
    Role,
    UnknownKeyError,
)
from resources.queue import QueueUnavailableError
from resources.queue.link import RedisLink
from tests.support.faulty_network import closed_port
from tests.support.redis_server import running_redis

DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A real Redis."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def open_accounts(redis):
    """Opens the accounts of this test, each time with connections of their own; keyword arguments are settings."""
    opened, namespace = [], f"test-{uuid.uuid4().hex}"

    def new(**settings):
        chosen = QueueSettings.model_validate({"url": redis.url, "namespace": namespace, **settings})
        opened.append(Accounts(RedisLink(chosen), chosen))
        return opened[-1]

    yield new
    for accounts in opened:
        accounts.close()


@pytest.fixture
def accounts(open_accounts):
    """No accounts yet."""
    return open_accounts()


def test_a_key_opens_its_account(accounts):
    key = accounts.create("ann", "paid", 50)

    account = accounts.authenticate(key)

    assert (account.user_id, account.role, account.qps_limit) == ("ann", Role.PAID, 50)
    assert account.expires_at_s - account.created_at_s == 30 * DAY_S
    assert accounts.list() == [account]


def test_a_key_is_free_and_has_the_configured_limit_unless_told_otherwise(open_accounts):
    accounts = open_accounts(default_qps=7)

    account = accounts.authenticate(accounts.create("ann"))

    assert (account.role, account.qps_limit) == (Role.FREE, 7)


def test_keys_cannot_be_guessed(accounts):
    keys = {accounts.create("ann") for _ in range(20)}

    assert len({key[12:] for key in keys}) == 20
    assert all(len(key) == 4 + 43 for key in keys)  # 256 bits, 6 in a character


def test_redis_never_holds_a_key(accounts, redis):
    key = accounts.create("ann")
    accounts.admit(key)

    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        dump = ""
        for name in client.scan_iter("test-*"):
            kind = client.type(name)
            dump += name + str(client.hgetall(name) if kind == "hash" else client.get(name))

    assert key[:12] in dump
    assert key[12:] not in dump


@pytest.mark.parametrize("key", ["", "igx_", "igx_" + "a" * 43, "igx_" + "a" * 42 + "\n", "ä" * 47, "a" * 100_000])
def test_an_unknown_key_is_refused(accounts, key):
    accounts.create("ann")

    with pytest.raises(UnknownKeyError) as caught:
        accounts.authenticate(key)

    assert str(caught.value) == "This API key is unknown or was revoked. Ask for a new one."


@pytest.mark.parametrize("whole", [True, False])
def test_a_revoked_key_is_refused_at_once_everywhere(accounts, open_accounts, whole):
    key, other = accounts.create("ann"), accounts.create("ann")
    account = accounts.authenticate(key)

    assert open_accounts().revoke(key if whole else account.key_id)

    with pytest.raises(UnknownKeyError):
        accounts.authenticate(key)
    assert not accounts.revoke(key)
    assert accounts.authenticate(other) in accounts.list()
    assert len(accounts.list()) == 1


def test_a_wrong_key_with_the_right_beginning_revokes_nothing(accounts):
    key = accounts.create("ann")

    assert not accounts.revoke(key[:12] + "a" * 35)
    assert accounts.authenticate(key)


def test_an_expired_key_is_told_from_an_unknown_one(open_accounts, monkeypatch):
    accounts = open_accounts(key_ttl_s=60)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000)
    key = accounts.create("ann")
    monkeypatch.undo()

    with pytest.raises(ExpiredKeyError) as caught:
        accounts.authenticate(key)

    assert str(caught.value) == f"API key {key[:12]}… expired on 2023-11-14. Ask for a new one."


def test_the_record_of_a_key_expires_and_the_list_forgets_it(accounts, redis):
    key = accounts.create("ann")
    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        record = accounts._record(key)
        assert 36 * DAY_S < client.ttl(record) <= 37 * DAY_S
        client.delete(record)

    assert accounts.list() == []


@pytest.mark.parametrize(
    ("user", "role", "qps", "said"),
    [
        ("", "free", None, "user_id: '' is not a user: 1 to 128 printable characters, no space at the ends"),
        (
            "catalog:a",
            "free",
            None,
            "user_id: 'catalog:a' is not a user: those that begin with 'catalog:' are catalogs",
        ),
        ("a\nb", "free", None, r"user_id: 'a\nb' is not a user: 1 to 128 printable characters, no space at the ends"),
        ("ann", "gold", None, "role: 'gold' is not one of free, paid."),
        ("ann", "free", 0, "qps_limit: 0 is below the minimum of 1"),
    ],
)
def test_an_account_that_cannot_be_says_why(accounts, user, role, qps, said):
    with pytest.raises(InvalidAccountError) as caught:
        accounts.create(user, role, qps)

    assert str(caught.value) == said
    assert accounts.list() == []


def test_calls_beyond_the_limit_are_refused_and_later_ones_are_not(accounts):
    key, other = (accounts.create("ann", qps=3) for _ in range(2))

    def call_ten_times():
        for _ in range(10):
            accounts.admit(key)

    with pytest.raises(RateLimitedError) as caught:
        call_ten_times()

    accounts.admit(other)
    assert caught.value.retry_after_s == 1
    assert str(caught.value) == f"API key {key[:12]}… may make 3 calls a second. Wait a moment."
    until = time.monotonic() + 10
    while True:
        try:
            accounts.admit(key)
            break
        except RateLimitedError:
            assert time.monotonic() < until


def test_a_call_of_a_key_writes_nothing_to_disk(tmp_path):
    settings = QueueSettings(path=tmp_path / "redis")
    link = RedisLink(settings)
    accounts = Accounts(link, settings)
    key = accounts.create("ann", qps=30)

    def written() -> int:
        return link.call(lambda client: client.info("persistence"))["aof_current_size"]

    try:
        before = written()
        for _ in range(20):
            accounts.admit(key)
        assert written() == before > 0
    finally:
        accounts.close()


def test_all_processes_share_one_limit(accounts, redis):
    key = accounts.create("ann", qps=20)
    namespace = accounts._settings.namespace
    code = (
        "import sys, time\n"
        "from configs.queue_settings import QueueSettings\n"
        "from resources.accounts import Accounts, RateLimitedError\n"
        "from resources.queue.link import RedisLink\n"
        "url, namespace, key = sys.argv[1:]\n"
        "settings = QueueSettings.model_validate({'url': url, 'namespace': namespace})\n"
        "accounts = Accounts(RedisLink(settings), settings)\n"
        "print('ready', flush=True); sys.stdin.readline(); admitted = 0; began = time.monotonic()\n"
        "while time.monotonic() < began + 3:\n"
        "    try: accounts.admit(key); admitted += 1\n"
        "    except RateLimitedError: time.sleep(0.005)\n"
        "print(admitted)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, redis.url, namespace, key]
    callers = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [caller.stdout.readline() for caller in callers] == ["ready\n"] * 2
    for caller in callers:
        caller.stdin.write("\n")
        caller.stdin.flush()
    admitted = sum(int(caller.communicate()[0]) for caller in callers)

    assert 20 <= admitted <= 20 * 5  # 20 a second for 3 s, and the windows at both ends


def test_an_outage_is_not_an_unknown_key(caplog):
    caplog.set_level(logging.DEBUG)
    settings = QueueSettings.model_validate({"url": f"redis://{closed_port()}", "connect_timeout_s": 0.5})
    accounts = Accounts(RedisLink(settings), settings)
    key = "igx_" + "a" * 43

    for call in (lambda: accounts.create("ann"), lambda: accounts.authenticate(key), lambda: accounts.admit(key)):
        with pytest.raises(QueueUnavailableError):
            call()

    assert key not in caplog.text
