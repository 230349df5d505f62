"""Limits of calls in flight, deadlines and message sizes, and the metrics of calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.kinds import ContactMethodType, Environment
from contactsvc.rpc.auth import Authenticator
from contactsvc.runtime.server import Limits
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, serving
from tests.operations.stores import HeldStore


async def held(open_stores: OpenStores) -> tuple[Any, HeldStore]:
    stores: Any = await open_stores()
    store = stores[Environment.LIVE] = HeldStore(stores[Environment.LIVE])
    return stores, store


def get(api: Api, **options: Any) -> Any:
    return api.stub.GetContactMethod(pb.GetContactMethodRequest(id="nobody"), **options)


@asynccontextmanager
async def slot_in_use(store: Any) -> AsyncIterator[None]:
    """Keep a write of the emails of client_1 under way inside the block; others wait for it."""
    begun, end = asyncio.Event(), asyncio.Event()

    async def write(_: Any) -> None:
        begun.set()
        await end.wait()

    writing = asyncio.create_task(store.atomically(write, keys=[("client_1", ContactMethodType.EMAIL)]))
    await begun.wait()
    try:
        yield
    finally:
        end.set()
        await writing


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
    [(Limits(max_in_flight=3, max_in_flight_per_key=1), False), (Limits(max_in_flight_per_key=3), True)],
    ids=["process", "key"],
)
async def test_calls_above_a_limit_are_refused_with_a_retry_delay(
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
    authenticator = Authenticator(OneKey(key) if with_key else None, monotonic=time.monotonic)
    await authenticator.refresh()
    headers = [("authorization", f"Bearer {text}")] if with_key else []
    async with serving(stores, authenticator=authenticator, limits=limits, metrics=metrics) as api:
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
    async with serving(stores, limits=Limits(max_deadline=0.05)) as api:
        failure = await failure_of(get(api))

    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def test_a_write_that_waits_for_its_turn_ends_at_its_deadline_and_writes_nothing(
    on_embedded: OpenStores,
) -> None:
    stores = await on_embedded()
    async with serving(stores) as api:
        record, primary = await api.create(), await api.create(is_primary=True)
        async with slot_in_use(stores[Environment.LIVE]):
            failure = await failure_of(
                api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, is_primary=True), timeout=0.1)
            )

        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await api.primary_id("client_1") == primary.id


async def test_an_oversized_message_is_refused(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded(), limits=Limits(max_message_bytes=16_384)) as api:
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
    assert count("grpc_server_handled_total", "unary", "GetContactMethod", grpc_code="NotFound") == 1
    errors = {"grpc_method": "GetContactMethod", "reason": "CONTACT_METHOD_NOT_FOUND"}
    assert value_of(metrics, "contactsvc_errors_total", **errors) == 1
    assert count("grpc_server_handling_seconds_count", "unary", "GetContactMethod") == 1
    assert count("grpc_server_msg_received_total", "unary", "GetContactMethod") == 1
    assert count("grpc_server_msg_sent_total", "unary", "CreateContactMethod") == 1
    assert count("grpc_server_msg_sent_total", "server_stream", "StreamContactMethods") == 1
    assert count("grpc_server_handled_total", "server_stream", "StreamContactMethods", grpc_code="OK") == 1


async def test_a_write_whose_caller_has_left_stays_in_flight(on_embedded: OpenStores) -> None:
    stores: Any = await on_embedded()
    metrics = Metrics()
    async with serving(stores, limits=Limits(max_in_flight=2), metrics=metrics) as api:
        record = await api.create(is_primary=True)
        other = await api.create()
        promote = pb.UpdateContactMethodRequest(id=other.id, is_primary=True)
        async with slot_in_use(stores[Environment.LIVE]):
            call = api.stub.UpdateContactMethod(promote)
            while value_of(metrics, "contactsvc_in_flight_calls") != 1:
                await api.get(record.id)
            call.cancel()
            await failure_of(get(api))
            while value_of(metrics, "contactsvc_in_flight_calls") == 2:  # noqa: ASYNC110 - until the answer is out
                await asyncio.sleep(0)
            assert value_of(metrics, "contactsvc_in_flight_calls") == 1
        while value_of(metrics, "contactsvc_in_flight_calls"):
            await failure_of(get(api))
