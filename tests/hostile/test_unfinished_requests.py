"""Requests that their callers do not finish: a few at a time, and given up after a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contactsvc.rpc.auth import Authenticator
from contactsvc.runtime.server import Limits
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, serving
from tests.hostile.raw_http2 import RawConnection, opened, prefixed
from tests.hostile.test_unread_answers import SERVICE, Keys, until

CREATE = f"{SERVICE}BatchCreateContactMethods"
CHECK = "/grpc.health.v1.Health/Check"
ANNOUNCED = 4 * 1024 * 1024


async def begin_request(connection: RawConnection, path: str, headers: tuple[tuple[str, str], ...] = ()) -> int:
    """Send the beginning of a request that announces 4 MiB; return the id of its stream."""
    stream = await connection.begin(path, headers)
    await connection.send(stream, prefixed(b"x" * 100, ANNOUNCED), end=False)
    return stream


async def test_strangers_are_refused_before_their_message_is_read(on_embedded: OpenStores) -> None:
    keys = Keys(1)
    ((_, text),) = keys.headers[0]
    authenticator = Authenticator(keys, monotonic=time.monotonic)
    await authenticator.refresh()
    wrong = (("authorization", text[:-4] + "aaaa"),)
    async with serving(await on_embedded(), authenticator=authenticator) as api, opened(api.target) as connection:
        calls = [await begin_request(connection, CREATE, headers) for headers in ((), wrong) for _ in range(40)]
        for call in calls:
            await connection.ended(call)

        assert not connection.closed
        assert api.server.reader.begun == 0


async def test_a_connection_has_a_few_unfinished_requests_at_a_time_and_others_are_served(
    on_embedded: OpenStores,
) -> None:
    async with serving(await on_embedded()) as api, opened(api.target) as connection:
        for _ in range(20):
            await begin_request(connection, CREATE)
        await until(lambda: api.server.reader.waiting == 16)

        assert api.server.reader.reading == 4
        record = await api.create()
        assert await api.get(record.id) == record


async def test_an_unfinished_request_is_given_up(on_embedded: OpenStores) -> None:
    limits = Limits(request_timeout=0.1)
    async with serving(await on_embedded(), limits=limits) as api, opened(api.target) as connection:
        calls = [await begin_request(connection, CREATE) for _ in range(20)]
        for call in calls:
            await connection.ended(call)

        assert api.server.reader.reading == 0
        assert not connection.closed


async def test_calls_that_do_not_get_their_turn_are_refused_with_a_retry_delay(on_embedded: OpenStores) -> None:
    metrics = Metrics()
    async with (
        serving(await on_embedded(), limits=Limits(max_deadline=1), metrics=metrics) as api,
        opened(api.target) as connection,
    ):
        calls = [await begin_request(connection, CREATE) for _ in range(5)]
        await connection.ended(calls[4])

        assert metrics.registry.get_sample_value("contactsvc_rejected_calls_total", {"limit": "requests"}) == 1


async def test_unfinished_requests_of_many_connections_give_way_to_others(
    on_embedded: OpenStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contactsvc.rpc.request_reader.PRESSED_TIMEOUT_SECONDS", 0.05)
    async with (
        serving(await on_embedded()) as api,
        opened(api.target) as one,
        opened(api.target) as two,
        opened(api.target) as three,
        opened(api.target) as four,
    ):
        for connection in (one, two, three, four):
            for _ in range(4):
                await begin_request(connection, CREATE)
        await until(lambda: api.server.reader.reading == 16)

        record = await api.create()

        assert await api.get(record.id) == record
        assert api.server.reader.reading <= 16


async def test_a_request_without_a_message_is_malformed(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded()) as api, grpc.aio.insecure_channel(api.target) as channel:
        call: Any = channel.stream_unary(f"{SERVICE}ListContactMethods")(iter(()))

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unfinished_health_checks_do_not_hold_up_others(on_embedded: OpenStores) -> None:
    async with (
        serving(await on_embedded()) as api,
        opened(api.target) as connection,
        grpc.aio.insecure_channel(api.target) as channel,
    ):
        calls = [await begin_request(connection, CHECK) for _ in range(40)]
        # The oldest give way to the newest.
        await asyncio.gather(*(connection.ended(call) for call in calls[:20]))

        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

        assert (await check).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_large_request_arrives_whole(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded()) as api:
        # More than the window of a call whose message is not read yet.
        metadata = {f"{number:040}": "x" * 500 for number in range(50)}
        creates = [
            pb.CreateContactMethodRequest(
                client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"v{number}", metadata=metadata
            )
            for number in range(20)
        ]
        created = await api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=creates))

    assert len(created.results) == 20
