import os
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest

from configs.audit_settings import AuditSettings
from resources import audit
from resources.audit import AuditEvent, AuditLog
from tests.support.waiting import wait_until


@pytest.fixture
def log(tmp_path):
    return AuditLog(AuditSettings(folder=tmp_path / "audit", max_bytes=10_000, files=3))


def append(folder, start):
    log = AuditLog(AuditSettings(folder=folder, max_bytes=10_000, files=100))
    for number in range(200):
        log.record(AuditEvent.KEY_CREATED, f"p{start}", number=number)


def test_several_processes_lose_no_event_while_files_are_closed(tmp_path):
    processes = [get_context("spawn").Process(target=append, args=(tmp_path, start)) for start in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    events = list(AuditLog(AuditSettings(folder=tmp_path, max_bytes=10_000, files=100)).read())
    for start in range(2):
        assert [event["number"] for event in events if event["who"] == f"p{start}"] == list(range(200))
    assert len(list(tmp_path.glob("audit.*.jsonl"))) > 1


def test_it_stays_bounded_and_keeps_the_newest(log, tmp_path):
    for number in range(1000):
        log.record(AuditEvent.KEY_CREATED, "ann", number=number)

    numbers = [event["number"] for event in log.read()]
    assert numbers == list(range(numbers[0], 1000))
    assert sum(file.stat().st_size for file in (tmp_path / "audit").glob("*.jsonl")) <= 40_000


def told(log):
    return [(event["who"], event.get("times")) for event in log.read()]


def test_what_happens_often_is_counted_and_told_even_if_it_does_not_go_on(log, monkeypatch):
    monkeypatch.setattr(audit, "WINDOW_S", 1.0)
    for _ in range(500):
        log.record_often(AuditEvent.LOGIN_REFUSED, "10.0.0.1", reason="unknown key")
    log.record_often(AuditEvent.LOGIN_REFUSED, "10.0.0.2", reason="unknown key")
    first = [("10.0.0.1", None), ("10.0.0.2", None)]
    assert told(log) == first
    wait_until(lambda: told(log) == [*first, ("10.0.0.1", 499)])
    log.record_often(AuditEvent.LOGIN_REFUSED, "10.0.0.1", reason="unknown key")
    assert told(log) == [*first, ("10.0.0.1", 499)]
    wait_until(lambda: told(log) == [*first, ("10.0.0.1", 499), ("10.0.0.1", 1)])
    time.sleep(1.2)
    log.record_often(AuditEvent.LOGIN_REFUSED, "10.0.0.1", reason="unknown key")
    assert told(log)[-1] == ("10.0.0.1", None)


REFUSED = """
import sys
from configs.audit_settings import AuditSettings
from resources.audit import AuditEvent, AuditLog
log = AuditLog(AuditSettings(folder=sys.argv[1]))
for _ in range(500):
    log.record_often(AuditEvent.LOGIN_REFUSED, "10.0.0.1", reason="unknown key")
"""


def test_what_was_counted_is_told_when_the_process_ends(tmp_path):
    subprocess.run([sys.executable, "-c", REFUSED, tmp_path], check=True, timeout=60)

    assert told(AuditLog(AuditSettings(folder=tmp_path))) == [("10.0.0.1", None), ("10.0.0.1", 499)]


def test_many_callers_are_counted_together(log, monkeypatch):
    monkeypatch.setattr(audit, "MOST_KINDS", 3)
    for number in range(50):
        log.record_often(AuditEvent.LOGIN_REFUSED, f"10.0.0.{number}", reason="unknown key")

    assert [event["who"] for event in log.read()] == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "others"]


def test_what_cannot_be_written_is_told_in_the_log(tmp_path, caplog):
    (tmp_path / "audit").write_text("in the way")

    AuditLog(AuditSettings(folder=tmp_path / "audit")).record(AuditEvent.KEY_REVOKED, "ann", key="igx_1")

    assert "cannot be written" in caplog.text
    assert "igx_1" in caplog.text


def test_a_damaged_line_hides_no_other(log, tmp_path, caplog):
    log.record(AuditEvent.KEY_CREATED, "ann")
    with (tmp_path / "audit/audit.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-\xff\n')
    log.record(AuditEvent.KEY_REVOKED, "ann")

    assert [event["event"] for event in log.read()] == ["key.created", "key.revoked"]
    assert "line 2 of" in caplog.text


def test_it_follows_no_link(tmp_path, caplog):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/audit.jsonl").symlink_to(tmp_path / "elsewhere")

    AuditLog(AuditSettings(folder=tmp_path / "audit")).record(AuditEvent.KEY_REVOKED, "ann")

    assert not (tmp_path / "elsewhere").exists()


def test_a_line_that_finds_no_room_is_told_and_spoils_no_other(tmp_path, caplog, monkeypatch):
    log = AuditLog(AuditSettings(folder=tmp_path / "audit"))
    log.record(AuditEvent.KEY_CREATED, "ann")
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))  # as a full disk takes it
        log.record(AuditEvent.KEY_CREATED, "ben")
    log.record(AuditEvent.KEY_CREATED, "cid")

    assert [event["who"] for event in log.read()] == ["ann", "cid"]
    assert "No space left on device" in caplog.text
