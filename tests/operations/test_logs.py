"""Log lines of calls: their fields, and that they contain nothing that callers sent."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import re
import select
from datetime import datetime
from typing import Any

import grpc
import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.logs import CallLog, JsonFormatter, TextFormatter
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, serving
from tests.operations.planted import PLANTED, planted_calls
from tests.operations.stores import BrokenStore


def get(api: Api, **options: Any) -> Any:
    return api.stub.GetContactMethod(pb.GetContactMethodRequest(id="nobody"), **options)


async def test_no_log_and_no_error_shows_what_callers_sent(
    on_embedded: OpenStores, caplog: pytest.LogCaptureFixture
) -> None:
    stores: Any = await on_embedded()
    stores[Environment.LIVE] = BrokenStore(stores[Environment.LIVE])
    errors, codes = [], set()
    written = io.StringIO()
    call_log = CallLog(as_json=True, stream=written)
    with caplog.at_level(logging.DEBUG, logger="contactsvc"):
        async with serving(stores, call_log=call_log) as api:
            for call in planted_calls(api):
                try:
                    await call()
                except grpc.aio.AioRpcError as error:
                    codes.add(error.code())
                    errors.append(f"{error.details()} {error.trailing_metadata()}")

    call_log.flush()
    lines = [JsonFormatter().format(record) for record in caplog.records] + written.getvalue().splitlines()
    assert grpc.StatusCode.INTERNAL in codes
    assert len(errors) > 5
    assert len(lines) > 8
    assert not [text for text in (*errors, *lines) if PLANTED in text]


def test_a_line_of_a_library_shows_its_template_only() -> None:
    args = (f"Bearer {PLANTED}",)
    quoting = [
        logging.LogRecord(
            "grpc._cython.cygrpc", logging.ERROR, "x.py", 1, f"Invalid encoding on {PLANTED}", None, None
        ),
        logging.LogRecord("opentelemetry.trace", logging.WARNING, "x.py", 1, "Invalid header %s", args, None),
    ]

    lines = [formatter.format(record) for record in quoting for formatter in (JsonFormatter(), TextFormatter())]

    assert PLANTED not in "".join(lines)
    assert "Invalid header %s" in lines[2]


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_an_error_of_the_operating_system_shows_its_symbol_and_not_its_text(formatter: logging.Formatter) -> None:
    error = OSError(errno.EMFILE, "Too many open files", f"/{PLANTED}")
    record = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, "socket.accept()", None, (OSError, error, None))

    line = formatter.format(record)

    assert "builtins.OSError: EMFILE" in line
    assert PLANTED not in line


@pytest.mark.parametrize("as_json", [True, False])
async def test_every_call_has_one_log_line_with_its_request_id(on_embedded: OpenStores, as_json: bool) -> None:
    written = io.StringIO()
    call_log = CallLog(as_json=as_json, stream=written, worker=3)
    async with serving(await on_embedded(), call_log=call_log) as api:
        await failure_of(get(api, metadata=(("x-request-id", 'a"1'), ("x-environment", "test"))))
        await api.total()
    call_log.flush()

    first, second = written.getvalue().splitlines()
    expected = {
        "level": "info",
        "logger": "contactsvc.calls",
        "message": "call",
        "worker": 3,
        "method": "GetContactMethod",
        "code": "NOT_FOUND",
        "reason": "CONTACT_METHOD_NOT_FOUND",
        "request_id": 'a"1',
        "environment": "test",
    }
    if as_json:
        line = json.loads(first)
        assert line.pop("ms") >= 0
        assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
        assert line == expected
        assert "reason" not in json.loads(second)
    else:
        start, *fields = first.split(" call ", 1)
        assert re.fullmatch(r"\S+Z INFO    contactsvc.calls:", start)
        named = dict(field.split("=", 1) for field in fields[0].split(" "))
        assert float(named.pop("ms")) >= 0
        assert named == {key: str(value) for key, value in list(expected.items())[3:]}
        assert " reason=" not in second


class AwaitedText(io.StringIO):
    """A stream that signals a flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = asyncio.Event()

    def flush(self) -> None:
        self.flushed.set()


async def test_buffered_lines_are_written_soon(on_embedded: OpenStores) -> None:
    written = AwaitedText()
    async with serving(await on_embedded(), call_log=CallLog(as_json=True, stream=written)) as api:
        await api.total()
        await written.flushed.wait()

    assert json.loads(written.getvalue())["method"] == "ListContactMethods"


class Writes(io.StringIO):
    """A stream that records its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


async def test_lines_are_written_in_pieces_that_a_pipe_takes_atomically() -> None:
    written = Writes()
    call_log = CallLog(as_json=True, stream=written, worker=1)

    for number in range(200):
        call_log(CallReport("GetContactMethod", "OK", "", 0.001, f"{number:0128d}", "live", "key"))
    call_log.flush()

    assert [json.loads(line)["request_id"] for line in "".join(written.pieces).splitlines()] == [
        f"{number:0128d}" for number in range(200)
    ]
    assert 10 < len(written.pieces) < 100
    assert all(piece.endswith("\n") and len(piece) <= select.PIPE_BUF for piece in written.pieces)
