"""Logging to standard error, as text or JSON, without the text of exceptions.

Exception texts can quote a document and with it a contact value, as MongoDB's duplicate-key errors do. A logged
exception therefore shows its class and stack, the symbol of an error of the operating system, and its text only when it
is marked `SafeToLog`. A library's line shows only its message template.
"""

from __future__ import annotations

import asyncio
import errno
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
from typing import TextIO

from contactsvc.errors import SafeToLog
from contactsvc.telemetry.call_report import CallReport

# Lines of calls are buffered for this long. Each write releases the interpreter to other threads: one write per call
# took a sixth of the CPU time of a read.
_BUFFER_SECONDS = 0.02
_CALL_LOGGER = "contactsvc.calls"

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(*, as_json: bool, level: str, worker: int | None = None) -> None:
    """Send the log of the process to standard error. `CallLog` writes the lines of calls.

    Args:
        as_json: write JSON instead of text.
        level: lowest level that is logged.
        worker: number of this worker process, added to each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    if worker is not None:
        handler.addFilter(_worker_filter(worker))
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # The drivers log commands and their documents at DEBUG.
    for driver in ("pymongo", "motor"):
        logging.getLogger(driver).setLevel(logging.WARNING)


class CallLog:
    """Writes one line per call, in batches of a few milliseconds. Create it inside the running event loop.

    The lines have the format of the rest of the log but bypass `logging`, which costs a call more CPU than everything
    else besides the database query.

    Args:
        as_json: write JSON instead of text.
        stream: destination.
        worker: number of this worker process, added to each line.
    """

    def __init__(self, *, as_json: bool, stream: TextIO, worker: int | None = None) -> None:
        self._line = _call_as_json if as_json else _call_as_text
        self._stream = stream
        self._worker = worker
        # With the times of their ends.
        self._reports: list[tuple[float, CallReport]] = []
        self._loop = asyncio.get_running_loop()
        self._second = 0
        self._second_as_text = ""

    def __call__(self, report: CallReport) -> None:
        """Keep the report of a call, for the next flush."""
        if not self._reports:
            self._loop.call_later(_BUFFER_SECONDS, self.flush)
        self._reports.append((time.time(), report))

    def flush(self) -> None:
        """Write the lines of the calls since the last flush."""
        reports, self._reports = self._reports, []
        lines = [self._line(self._text_of(at), self._worker, report) for at, report in reports]
        # As `logging` does: a failing log must not stop the service.
        with suppress(OSError, ValueError):
            for piece in _pipe_sized(lines):
                self._stream.write(piece)
                self._stream.flush()

    def _text_of(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_as_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_as_text}.{int((at - second) * 1000):03d}Z"


def _pipe_sized(lines: list[str]) -> Iterator[str]:
    """Yield lines joined to pieces that a pipe takes atomically, so that lines of several workers do not mix."""
    piece: list[str] = []
    size = 0
    for line in lines:
        # Lines are ASCII: one byte per character.
        if piece and size + len(line) > PIPE_BUF:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield "".join(piece)


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


class TextFormatter(logging.Formatter):
    """Formats a record as one line of text, followed by the stack of its exception."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the time in UTC, ISO 8601."""
        return _time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, ending with the extra fields as name=value."""
        record.message = _message(record)
        line = super().formatMessage(record)
        return " ".join([line, *(f"{name}={value}" for name, value in _fields(record).items())])

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - logging's name
        """Return the stack of an exception without its text."""
        return _traceback(ei[1])


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _traceback(record.exc_info[1])
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record; of a library's record only the template, since its arguments may quote callers.

    gRPC, for example, logs headers that it cannot decode, including API keys.
    """
    if record.name.partition(".")[0] == "contactsvc" or record.name == "py.warnings":
        return record.getMessage()
    template = str(record.msg) if record.args else "text withheld: it may quote a caller"
    return f"{template} ({record.module}:{record.lineno})"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields logged with `extra={"fields": ...}`."""
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _worker_filter(worker: int) -> Callable[[logging.LogRecord], bool]:
    def name(record: logging.LogRecord) -> bool:
        record.fields = {"worker": worker, **_fields(record)}
        return True

    return name


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(error: BaseException | None) -> str:
    """Return classes and stacks of an exception and its causes."""
    parts: list[str] = []
    while error is not None:
        stack = "".join(traceback.format_tb(error.__traceback__))
        parts.insert(0, f"{stack}{type(error).__module__}.{type(error).__qualname__}{_safe_text(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich caused:\n".join(parts)


def _safe_text(error: BaseException) -> str:
    """Return what may be logged of an exception beside its class."""
    if isinstance(error, SafeToLog):
        return f": {error.for_the_log}"
    symbol = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
    return f": {symbol}" if symbol else ""
