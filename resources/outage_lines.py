"""How Dagster's processes log an outage: importing this module makes it one line, in place of a traceback.

The daemon wrote two hundred lines at every look of every sensor, and as many at each of its signs of life.
"""

import logging
from typing import Any

from dagster_shared.error import SerializableErrorInfo

_OUTAGES = frozenset(
    {
        "StoreUnavailableError",
        "QueueUnavailableError",
        "QueueAccessError",
        "OperationalError",  # SQLAlchemy's, of Dagster's database
        "InterfaceError",
        "DagsterUserCodeUnreachableError",
        "DagsterCodeLocationLoadError",
    }
)
"""Errors of another process arrive as names."""
_make = logging.getLogRecordFactory()


def record_in_a_line(*given: Any, **more: Any) -> logging.LogRecord:
    """A record of `logging`, which says of an outage what it is, and not where it was met."""
    record = _make(*given, **more)
    if record.exc_info and (outage := _outage(record.exc_info[1])):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {outage}", (), None
    elif isinstance(record.args, tuple):
        record.args = tuple(_told_outage(one) or one for one in record.args)
    return record


def _outage(error: BaseException | None) -> str | None:
    """The first line of the outage that an error goes back to, in this process or in the one that was asked."""
    while error:
        if type(error).__name__ in _OUTAGES:
            return str(error).partition("\n")[0]
        for told in getattr(error, "user_code_process_error_infos", ()):
            return _told_outage(told)
        error = error.__cause__
    return None


def _told_outage(error: object) -> str | None:
    while isinstance(error, SerializableErrorInfo):
        if error.cls_name in _OUTAGES:
            return error.message.partition(": ")[2].partition("\n")[0]
        error = error.cause
    return None


logging.setLogRecordFactory(record_in_a_line)
