"""Logging: to standard error, as text or JSON, and without what an exception says.

The text of an exception may quote a document, and with it a contact value (MongoDB's duplicate-key errors do). So a
logged exception shows its class and where it was raised, and of its text only what one of ours says is for the log;
and a library's line shows its template only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from select import PIPE_BUF
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from contactsvc.errors import SafeToLog

if TYPE_CHECKING:
    from contactsvc.rpc.pipeline import CallReport

# How long the lines of calls are gathered before they are written. Each write lets other threads take the interpreter:
# one per call cost a sixth of all CPU time of a read.
_GATHERING = 0.02
_CALL_LOGGER = "contactsvc.calls"

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(*, as_json: bool, level: str, worker: int | None = None) -> None:
    """Send all log lines of the process to standard error; those of calls have a `CallLog`.

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


class CallLog:
    """Writes one line per call, those of a few milliseconds together; made inside the running event loop.

    The lines look like those of the rest of the log. They do not go through it, since its way costs a call more than
    all else that the service does for it besides asking the database.

    Args:
        as_json: whether lines are JSON.
        stream: where they go.
        worker: which worker of a service this is, for a field in each line.
    """

    def __init__(self, *, as_json: bool, stream: TextIO, worker: int | None = None) -> None:
        self._line = _call_as_json if as_json else _call_as_text
        self._stream = stream
        self._worker = worker
        self._lines: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._second = 0
        self._second_as_text = ""

    def __call__(self, report: CallReport) -> None:
        """Write the line of a call soon."""
        if not self._lines:
            self._loop.call_later(_GATHERING, self.flush)
        self._lines.append(self._line(self._now(), self._worker, report))

    def flush(self) -> None:
        """Write what has not been written yet."""
        lines, self._lines = self._lines, []
        # As the rest of the log does: a log that cannot be written must not stop the service.
        with suppress(OSError, ValueError):
            for lines_together in _fitting(lines):
                self._stream.write(lines_together)
                self._stream.flush()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_as_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_as_text}.{int((now - second) * 1000):03d}Z"


def _fitting(lines: list[str]) -> Iterator[str]:
    """Yield lines joined to what a pipe takes as a whole, so that workers do not write into each other's lines."""
    together: list[str] = []
    size = 0
    for line in lines:
        # All of it is ASCII.
        if together and size + len(line) > PIPE_BUF:
            yield "".join(together)
            together, size = [], 0
        together.append(line)
        size += len(line)
    if together:
        yield "".join(together)


def _call_as_text(now: str, worker: int | None, report: CallReport) -> str:
    origin = "" if worker is None else f" worker={worker}"
    reason = f" reason={report.reason}" if report.reason else ""
    environment = f" environment={report.environment}" if report.environment else ""
    key_id = f" key_id={report.key_id}" if report.key_id else ""
    return (
        f"{now} INFO    {_CALL_LOGGER}: call{origin} method={report.method} code={report.code}{reason} "
        f"ms={report.seconds * 1000:.2f} request_id={report.request_id}{environment}{key_id}\n"
    )


def _call_as_json(now: str, worker: int | None, report: CallReport) -> str:
    line = {
        "time": now,
        "level": "info",
        "logger": _CALL_LOGGER,
        "message": "call",
        "worker": worker,
        "method": report.method,
        "code": report.code,
        "reason": report.reason or None,
        "ms": round(report.seconds * 1000, 2),
        "request_id": report.request_id,
        "environment": report.environment or None,
        "key_id": report.key_id or None,
    }
    return json.dumps({name: value for name, value in line.items() if value is not None}) + "\n"


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
    """Return the classes and stacks of an exception and its causes, and of their texts only what is for the log."""
    parts: list[str] = []
    while error is not None:
        stack = "".join(traceback.format_tb(error.__traceback__))
        says = f": {error.for_the_log}" if isinstance(error, SafeToLog) else ""
        parts.insert(0, f"{stack}{type(error).__module__}.{type(error).__qualname__}{says}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to:\n".join(parts)
