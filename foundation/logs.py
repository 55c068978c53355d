"""Log lines of every process: one setup, as text or JSON, each line with the ids of what it is about.

A process that runs for long calls `set_up_logs(settings.logs)` once, with the ids that hold as long as it lives; a
Dagster run does `set_up_logs(settings.logs, run_id=…, partition=…)` each time it turns to another catalog. Work on one
task is put into `with log_ids(task_id=…):`; every line written inside, by whichever module, carries the id. Threads do
not inherit the block they were started in: hand them `with_log_ids(function)`. Modules log as always,
`logging.getLogger(__name__)`.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import ParamSpec, Protocol, TypeVar

from foundation.error_text import error_text, log_text
from foundation.outside_text import one_line, printable

PACKAGES = (
    *("foundation", "configs", "models", "resources", "gateway", "io_managers", "ops", "sensors"),
    *("imagegenx_assets", "imagegenx_cli", "benchmarks"),
)
"""The loggers that `logs.level` rules; all others begin at warnings."""

_HIDDEN = "***"
_SECRETS = (
    (
        re.compile(r"(?i)\b(x-amz-(?:signature|credential|security-token)|signature|sig|token|api_?key)=[^&\s\"']+"),
        r"\1=",
    ),
    (re.compile(r"(?i)\b(x-api-key|authorization)(['\"]?\s*[:=]\s*['\"]?)(?:bearer\s+)?[^\s,'\"}]+"), r"\1\2"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^/\s:@]*:)[^/\s@]+(?=@)"), r"\1"),
    (re.compile(r"\b(whsec_|igx_)[A-Za-z0-9+/=_-]{6,}"), r"\1"),
)
"""What must never stand in a line, though a library may put it there: signatures, keys and passwords in URLs."""
_TELLTALES = ("x-amz-", "sig", "token", "key", "authorization", "://", "whsec_", "igx_")
"""One of these, in lower case, is in each of them: most lines have none, and need not be searched by patterns."""

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")
_ids: ContextVar[Mapping[str, str]] = ContextVar("imagegenx_log_ids", default={})  # noqa: B039 never changed in place


class LogChoices(Protocol):
    """What an operator chooses: the settings `logs`."""

    @property
    def format(self) -> str:
        """`text`, or `json`: one object a line."""

    @property
    def level(self) -> str:
        """The least grave lines of `PACKAGES` that are written."""


def set_up_logs(settings: LogChoices, **process_ids: str) -> None:
    """Write this process's log lines to standard error; calling it again replaces the earlier setup.

    Args:
        process_ids: ids that every line carries, whichever thread writes it, like the run's.
    """
    handler = _StandardError()
    handler.setFormatter(_JsonLines(process_ids) if settings.format == "json" else _TextLines(process_ids))
    root = logging.getLogger()
    formers = [former for former in root.handlers if isinstance(former.formatter, _Lines)]
    root.addHandler(handler)
    for former in formers:
        root.removeHandler(former)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(settings.level.upper())


@contextmanager
def log_ids(**ids: str) -> Iterator[None]:
    """Lines written inside carry these ids, beside those of the blocks around it."""
    token = _ids.set({**_ids.get(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def add_log_ids(**ids: str) -> None:
    """Lines from now on carry these ids, too, until the block that we are in ends."""
    _ids.set({**_ids.get(), **ids})


def with_log_ids(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """`function`, for another thread: its lines carry the ids that hold here and now."""
    ids = _ids.get()

    def carrying(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        with log_ids(**ids):
            return function(*args, **kwargs)

    return carrying


class _StandardError(logging.Handler):
    """Writes to what standard error is at the time: Dagster redirects it while a run works, to keep what it prints."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # as every handler does: a line that cannot be written must not end the work it tells of
            self.handleError(record)


class _Lines(logging.Formatter):
    """What both forms share: the ids of a line, and no secrets in it."""

    def __init__(self, process_ids: Mapping[str, str]) -> None:
        super().__init__()
        self._process_ids = dict(process_ids)

    def ids(self, record: logging.LogRecord) -> dict[str, str]:
        """The ids of the process, of the blocks around the call, and those given as `extra`, later ones winning."""
        given = {name: str(value) for name, value in vars(record).items() if name.endswith("_id") and value is not None}
        return {**self._process_ids, **_ids.get(), **given}

    def error(self, record: logging.LogRecord) -> str:
        """The traceback, if the line has one."""
        if not (record.exc_info and record.exc_info[0]):
            return ""
        return log_text(without_secrets(self.formatException(record.exc_info)))

    def message(self, record: logging.LogRecord) -> str:
        """What the line says; of an error as much as an error text may hold."""
        text = record.getMessage()
        return error_text(without_secrets(text)) if record.levelno >= logging.WARNING else text


class _JsonLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        """One object: time (UTC, ISO 8601), level, logger, message, ids, and error if there is a traceback."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": self.message(record)}
        error = self.error(record)
        told = line | self.ids(record) | ({"error": error} if error else {})
        return json.dumps({name: printable(without_secrets(value)) for name, value in told.items()}, ensure_ascii=False)


class _TextLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        """Local time, level, logger, message and ids; a traceback on the lines below."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        ids = "".join(f" {name}={value}" for name, value in self.ids(record).items())
        line = one_line(f"{at} {record.levelname.lower()} {record.name}: {self.message(record)}{ids}")
        error = self.error(record).replace("\n", "\n    ")  # no line of it can pass for one of the log
        return without_secrets("\n".join(filter(None, [line, error])))


def without_secrets(text: str) -> str:
    """The text with what looks like a key, a signature or a password replaced by ***."""
    folded = text.casefold()
    for pattern, kept in _SECRETS if any(telltale in folded for telltale in _TELLTALES) else ():
        text = pattern.sub(kept + _HIDDEN, text)
    return text
