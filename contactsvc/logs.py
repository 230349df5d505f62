"""Logging: to standard error, as text or JSON, and without what an exception says.

The text of an exception may quote a document, and with it a contact value (MongoDB's duplicate-key errors do). So a
logged exception shows its class and where it was raised, never its text; and a library's line shows its template only.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(*, as_json: bool, level: str, worker: int | None = None) -> None:
    """Send all log lines of the process to standard error.

    Args:
        as_json: whether they are JSON.
        level: from which level on lines are logged.
        worker: which worker of a service this is, for a field in each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    if worker is not None:
        handler.addFilter(_naming(worker))
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # The drivers log commands and their documents at DEBUG.
    for driver in ("pymongo", "motor"):
        logging.getLogger(driver).setLevel(logging.WARNING)


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        return _time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _message(record)
        line = super().formatMessage(record)
        return " ".join([line, *(f"{name}={value}" for name, value in _fields(record).items())])

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - logging's name
        return _where(ei[1])


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _where(record.exc_info[1])
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    """Return the message of a line; of a library's only what it always says, since libraries quote what callers send.

    gRPC, for one, logs a header that it cannot read, and with it an API key.
    """
    if record.name.partition(".")[0] == "contactsvc" or record.name == "py.warnings":
        return record.getMessage()
    template = str(record.msg) if record.args else "its text may quote a caller and is withheld"
    return f"{template} ({record.module}:{record.lineno})"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what was logged as fields of their own, by `extra={"fields": ...}`."""
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _naming(worker: int) -> Callable[[logging.LogRecord], bool]:
    def name(record: logging.LogRecord) -> bool:
        record.fields = {"worker": worker, **_fields(record)}
        return True

    return name


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _where(error: BaseException | None) -> str:
    """Return the classes and stacks of an exception and its causes, without their texts."""
    parts: list[str] = []
    while error is not None:
        stack = "".join(traceback.format_tb(error.__traceback__))
        parts.insert(0, f"{stack}{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to:\n".join(parts)
