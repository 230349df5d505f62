from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import select
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.kinds import ContactMethodType, Environment
from contactsvc.rpc.auth import Authenticator
from contactsvc.runtime.server import Limits
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.logs import CallLog, JsonFormatter, TextFormatter
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, serving


class HeldStore:
    """A store whose reads by id wait until they are let go."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.waiting = 0
        self.arrived = asyncio.Condition()
        self.go = asyncio.Event()

    async def find(self, id_: str) -> Any:
        async with self.arrived:
            self.waiting += 1
            self.arrived.notify_all()
        await self.go.wait()
        return await self._store.find(id_)

    async def wait_for(self, count: int) -> None:
        """Wait until so many reads wait."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.waiting >= count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def held(open_stores: OpenStores) -> tuple[Any, HeldStore]:
    stores: Any = await open_stores()
    store = stores[Environment.LIVE] = HeldStore(stores[Environment.LIVE])
    return stores, store


def get(api: Api, **options: Any) -> Any:
    return api.stub.GetContactMethod(pb.GetContactMethodRequest(id="nobody"), **options)


def value_of(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


class OneKey:
    """A store of one API key."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key

    async def all(self) -> list[ApiKey]:
        return [self._key]


@pytest.mark.parametrize(
    ("limits", "with_key"),
    [(Limits(in_flight=3, in_flight_per_key=1), False), (Limits(in_flight_per_key=3), True)],
    ids=["process", "key"],
)
async def test_too_many_calls_are_refused_with_the_time_to_come_back(
    on_embedded: OpenStores, limits: Limits, with_key: bool
) -> None:
    stores, store = await held(on_embedded)
    metrics = Metrics()
    key, text = new_key(
        name="test",
        environment=Environment.LIVE,
        permissions=frozenset(Permission),
        now=datetime.now(UTC),
        expires_at=None,
    )
    gate = Authenticator(OneKey(key) if with_key else None, monotonic=time.monotonic)
    await gate.refresh()
    headers = [("authorization", f"Bearer {text}")] if with_key else []
    async with serving(stores, gate=gate, limits=limits, metrics=metrics) as api:
        calls = [asyncio.ensure_future(failure_of(get(api, metadata=headers))) for _ in range(3)]
        await store.wait_for(3)

        refused = get(api, metadata=headers)
        failure = await failure_of(refused)
        trailing = dict(await refused.trailing_metadata())
        async with grpc.aio.insecure_channel(api.target) as channel:
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await check(b"") == b"\x08\x01"
        in_flight = value_of(metrics, "contactsvc_in_flight_calls")
        store.go.set()
        answered = await asyncio.gather(*calls)
        assert (await failure_of(get(api, metadata=headers))).code is grpc.StatusCode.NOT_FOUND

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert trailing["grpc-retry-pushback-ms"] == "500"
    status, retry = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.ToMilliseconds() == 500
    assert {outcome.code for outcome in answered} == {grpc.StatusCode.NOT_FOUND}
    assert in_flight == 3
    assert value_of(metrics, "contactsvc_in_flight_calls") == 0
    limit = "key" if with_key else "process"
    assert value_of(metrics, "contactsvc_rejected_calls_total", limit=limit) == 1


async def test_a_call_ends_at_the_service_s_deadline_however_long_its_caller_waits(on_embedded: OpenStores) -> None:
    stores, _ = await held(on_embedded)
    async with serving(stores, limits=Limits(longest_call=0.05)) as api:
        failure = await failure_of(get(api))

    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def test_a_write_that_waits_for_its_turn_ends_at_its_deadline_and_writes_nothing(
    on_embedded: OpenStores,
) -> None:
    stores = await on_embedded()
    async with serving(stores) as api:
        record, primary = await api.create(), await api.create(is_primary=True)
        async with stores[Environment.LIVE]._locks.held([("client_1", ContactMethodType.EMAIL)]):
            failure = await failure_of(
                api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, is_primary=True), timeout=0.1)
            )

        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await api.primary_id("client_1") == primary.id


async def test_a_message_that_is_too_large_is_refused(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded(), limits=Limits(message_bytes=16_384)) as api:
        failure = await failure_of(api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token="x" * 20_000)))

    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_are_counted_by_method_and_status(on_embedded: OpenStores) -> None:
    metrics = Metrics()
    async with serving(await on_embedded(), metrics=metrics) as api:
        await api.create()
        await failure_of(get(api))
        async for _ in api.stub.StreamContactMethods(pb.StreamContactMethodsRequest()):
            pass

    def count(name: str, kind: str, method: str, **labels: str) -> float | None:
        service = "contactsvc.v1.ContactMethodsService"
        return value_of(metrics, name, grpc_type=kind, grpc_service=service, grpc_method=method, **labels)

    assert count("grpc_server_started_total", "unary", "CreateContactMethod") == 1
    assert count("grpc_server_handled_total", "unary", "CreateContactMethod", grpc_code="OK") == 1
    assert count("grpc_server_handled_total", "unary", "GetContactMethod", grpc_code="NOT_FOUND") == 1
    assert count("grpc_server_handling_seconds_count", "unary", "GetContactMethod") == 1
    assert count("grpc_server_msg_received_total", "unary", "GetContactMethod") == 1
    assert count("grpc_server_msg_sent_total", "unary", "CreateContactMethod") == 1
    assert count("grpc_server_msg_sent_total", "server_stream", "StreamContactMethods") == 1
    assert count("grpc_server_handled_total", "server_stream", "StreamContactMethods", grpc_code="OK") == 1


PLANTED = "planted-7f3a"


def planted_calls(api: Api) -> list[Callable[[], Awaitable[Any]]]:
    """Return calls that are full of what must not get into a log: good ones, bad ones, and ones that fail inside."""
    stub, email = api.stub, pb.CONTACT_METHOD_TYPE_EMAIL
    good = pb.CreateContactMethodRequest(
        client_id=f"{PLANTED}-client",
        type=email,
        value=f"{PLANTED}@example.com",
        label=f"{PLANTED}-label",
        external_id=f"{PLANTED}-external",
        metadata={f"{PLANTED}-key": f"{PLANTED}-value"},
        is_primary=True,
    )
    bad = pb.CreateContactMethodRequest(client_id=f"{PLANTED}\x00", type=email, value=f"{PLANTED} is no address")
    upsert = pb.UpsertContactMethodRequest(
        external_id=f"{PLANTED}-external", client_id=f"{PLANTED}-other", type=email, value=f"{PLANTED}@example.com"
    )
    return [
        lambda: stub.CreateContactMethod(good),
        lambda: stub.CreateContactMethod(good),
        lambda: stub.CreateContactMethod(bad),
        lambda: stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[good, bad, good])),
        lambda: stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[good, good])),
        lambda: stub.UpsertContactMethod(upsert),
        lambda: stub.GetContactMethodByMetadata(
            pb.GetContactMethodByMetadataRequest(key=f"{PLANTED}-nokey", value=PLANTED)
        ),
        lambda: stub.ListContactMethods(
            pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(values=[PLANTED]), page_token=PLANTED)
        ),
        lambda: stub.GetContactMethod(
            pb.GetContactMethodRequest(id=PLANTED), metadata=(("authorization", f"Bearer {PLANTED}"),)
        ),
    ]


class BrokenStore:
    """A store that fails with a text full of what must not get out."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def find(self, id_: str) -> Any:
        raise RuntimeError(f"cannot find {id_} of {PLANTED}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


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


def test_a_library_s_line_shows_nothing_that_it_quotes() -> None:
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


async def test_a_write_whose_caller_has_left_still_counts(on_embedded: OpenStores) -> None:
    stores: Any = await on_embedded()
    metrics = Metrics()
    async with serving(stores, limits=Limits(in_flight=2), metrics=metrics) as api:
        record = await api.create(is_primary=True)
        other = await api.create()
        promote = pb.UpdateContactMethodRequest(id=other.id, is_primary=True)
        async with stores[Environment.LIVE]._locks.held([("client_1", ContactMethodType.EMAIL)]):
            call = api.stub.UpdateContactMethod(promote)
            while value_of(metrics, "contactsvc_in_flight_calls") != 1:
                await api.get(record.id)
            call.cancel()
            await failure_of(get(api))
            assert value_of(metrics, "contactsvc_in_flight_calls") == 1
        while value_of(metrics, "contactsvc_in_flight_calls"):
            await failure_of(get(api))


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
    """A text that tells when it has been flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = asyncio.Event()

    def flush(self) -> None:
        self.flushed.set()


async def test_the_lines_of_calls_are_written_without_being_asked_for(on_embedded: OpenStores) -> None:
    written = AwaitedText()
    async with serving(await on_embedded(), call_log=CallLog(as_json=True, stream=written)) as api:
        await api.total()
        await written.flushed.wait()

    assert json.loads(written.getvalue())["method"] == "ListContactMethods"


class Writes(io.StringIO):
    """A text that remembers in which pieces it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


async def test_lines_of_calls_reach_a_pipe_whole_although_workers_share_it() -> None:
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
