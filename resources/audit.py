"""The audit log: who made and revoked keys, refused logins, verdicts, deletions, roll-outs; JSON lines, appended."""

import atexit
import errno
import fcntl
import getpass
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from configs.audit_settings import AuditSettings
from configs.settings import Settings
from foundation.outside_text import one_line
from foundation.private_folder import make_private

logger = logging.getLogger(__name__)

WINDOW_S = 60.0
"""What happens often is written at once, and then once in so long, with how many times it has happened since."""
MOST_KINDS = 1000
"""So many different things are counted apart; the others are counted together."""


class AuditEvent(StrEnum):
    """What is kept."""

    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    LOGIN_REFUSED = "login.refused"
    REQUEST_REJECTED = "request.rejected"
    PICTURE_REJECTED = "picture.rejected"
    PICTURE_RELEASED = "picture.released"
    PICTURE_DELETED = "picture.deleted"
    USER_DELETED = "user.deleted"
    ROWS_REJECTED = "rows.rejected"
    VERDICTS_GIVEN = "verdicts.given"
    CATALOG_REGISTERED = "catalog.registered"
    CATALOG_SET = "catalog.set"
    CATALOG_RETIRED = "catalog.retired"
    GARBAGE_COLLECTED = "garbage.collected"
    STORE_HEALED = "damage.healed"
    RELEASE_ROLLED_OUT = "release.rolled_out"
    CATALOG_CHANGED = "catalog.changed"


@dataclass
class _Counted:
    """What happens often, and how many times since that was last recorded."""

    event: AuditEvent
    who: str
    facts: Mapping[str, object]
    times: int = 0


class AuditLog:
    """The log of one home folder. Safe for threads and processes; it holds no secret, and no prompt.

    What cannot be written is told in the process's log, and holds up nothing.
    """

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._file = settings.folder / "audit.jsonl"
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, ...], _Counted] = {}
        self._tells_at_exit = False

    def record(self, event: AuditEvent, who: str, **facts: object) -> None:
        """Append an event, with who did it and what else is to be known."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "event": event, "who": who, **facts}, default=str)
        try:
            self._append(line.encode() + b"\n")
        except OSError as exc:
            logger.error("the audit log %s cannot be written (%s): %s", self._file, exc, line)

    @contextmanager
    def deed(
        self, event: AuditEvent, who: str, told: Callable[[], Mapping[str, object]], **facts: object
    ) -> Iterator[None]:
        """Record that the block begins and how it ends, with what is `told` of it then; killed, it has only begun."""
        self.record(event, who, **facts, state="begun")
        state = "broken off"
        try:
            yield
            state = "done"
        finally:
            self.record(event, who, **facts, **told(), state=state)

    def record_often(self, event: AuditEvent, who: str, **facts: object) -> None:
        """`record` for what may happen thousands of times: the first at once, then, once a minute, how many since."""
        kind = (event, who, json.dumps(facts, sort_keys=True, default=str))
        with self._lock:
            if kind not in self._counted and len(self._counted) >= MOST_KINDS:
                kind, who, facts = (event, "others", ""), "others", {}
            if kind in self._counted:
                self._counted[kind].times += 1
                return
            if not self._counted:
                self._begin_window()
            self._counted[kind] = _Counted(event, who, facts)
        self.record(event, who, **facts)

    def _begin_window(self) -> None:
        timer = threading.Timer(WINDOW_S, self._end_window)
        timer.daemon = True
        timer.start()
        if not self._tells_at_exit:
            self._tells_at_exit = True
            atexit.register(self._end_window, is_last=True)

    def _end_window(self, *, is_last: bool = False) -> None:
        """Record what was counted; what goes on is counted on."""
        with self._lock:
            counted = {kind: one for kind, one in self._counted.items() if one.times}
            self._counted = {kind: replace(one, times=0) for kind, one in counted.items()}
            if counted and not is_last:
                self._begin_window()
        for one in counted.values():
            self.record(one.event, one.who, **one.facts, times=one.times)

    def read(self) -> Iterator[Mapping[str, object]]:
        """Every event that is kept, oldest first; of a line that is none is told in the process's log."""
        for file in [*map(self._closed, range(self._settings.files, 0, -1)), self._file]:
            if file.is_file():
                with file.open(encoding="utf-8", errors="replace") as lines:
                    for number, line in enumerate(lines, start=1):
                        if not line.endswith("\n"):  # it is just being written
                            break
                        try:
                            yield json.loads(line)
                        except ValueError:
                            logger.warning("line %d of %s is damaged: %s", number, file, one_line(line)[:200])

    def _append(self, line: bytes) -> None:
        make_private(self._settings.folder)
        with (self._settings.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._file.is_file() and self._file.stat().st_size + len(line) > self._settings.max_bytes:
                self._close_file()
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                _write_whole(descriptor, line)
            finally:
                os.close(descriptor)

    def _close_file(self) -> None:
        """Begin a new file; the oldest closed one goes."""
        for number in range(self._settings.files, 0, -1):
            before = self._file if number == 1 else self._closed(number - 1)
            if before.is_file():
                before.replace(self._closed(number))

    def _closed(self, number: int) -> Path:
        return self._file.with_name(f"audit.{number}.jsonl")


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append a line, or nothing of it: a part, as a full disk takes it, would spoil the next line, too."""
    before = os.fstat(descriptor).st_size
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_audit(settings: Settings) -> AuditLog:
    """The configured audit log. Touches nothing yet."""
    return AuditLog(settings.audit)


def this_person() -> str:
    """Who runs this process, for the log: the user of the machine and its name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
