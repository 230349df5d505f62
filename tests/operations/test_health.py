"""The health protocol, and how health follows the database."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contactsvc.errors import StoreUnavailable
from contactsvc.rpc.health import LIVENESS, Health, follow_database
from tests.conftest import OpenStores, serving

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def status_of(stub: Any, service: str = "") -> Any:
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.fixture
async def server(on_embedded: OpenStores) -> Any:
    async with serving(await on_embedded()) as api, grpc.aio.insecure_channel(api.target) as channel:
        yield api, health_pb2_grpc.HealthStub(channel)


async def test_health_follows_the_given_status_and_liveness_does_not(server: Any) -> None:
    api, stub = server
    service = "contactsvc.v1.ContactMethodsService"
    assert [await status_of(stub, name) for name in ("", service, LIVENESS)] == [SERVING] * 3

    await api.server.health.set_serving(False)
    assert [await status_of(stub, name) for name in ("", service, LIVENESS)] == [NOT_SERVING, NOT_SERVING, SERVING]

    await api.server.health.set_serving(True)
    assert await status_of(stub) == SERVING


async def test_an_unknown_service_is_not_found(server: Any) -> None:
    _, stub = server
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await status_of(stub, "nobody")

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_malformed_and_oversized_requests_are_refused(server: Any) -> None:
    api, _ = server
    async with grpc.aio.insecure_channel(api.target) as channel:
        for raw in (b"\xff\xff\xff", health_pb2.HealthCheckRequest(service="x" * 2_000).SerializeToString()):
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await check(raw)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_every_watcher_receives_every_change_even_when_another_one_leaves(server: Any) -> None:
    api, stub = server
    first, second = (stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
    assert [(await watch.read()).status for watch in (first, second)] == [SERVING, SERVING]

    first.cancel()
    await api.server.health.set_serving(False)
    assert (await second.read()).status == NOT_SERVING
    await api.server.health.set_serving(True)
    assert (await second.read()).status == SERVING


async def test_a_drain_reports_not_serving_and_ends_the_watches(server: Any) -> None:
    api, stub = server
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING

    await api.server.health.drain()
    assert (await watch.read()).status == NOT_SERVING
    await api.server.health.set_serving(True)
    assert await status_of(stub) == NOT_SERVING
    assert await status_of(stub, LIVENESS) == SERVING
    await api.server.health.end_watches()
    assert await watch.read() is grpc.aio.EOF


class UnfinishedRequest:
    """A context of gRPC whose request never arrives."""

    async def read(self) -> Any:
        await asyncio.Event().wait()

    async def abort(self, code: grpc.StatusCode, message: str) -> None:
        raise TimeoutError(code)


class Details(NamedTuple):
    """What gRPC says of a call before it begins."""

    method: str
    invocation_metadata: Any = ()


async def test_a_check_that_arrives_as_the_time_of_unfinished_ones_is_over_is_answered() -> None:
    handler: Any = Health([""], read_timeout=0).handler
    check = handler.service(Details("/grpc.health.v1.Health/Check")).stream_unary

    async def late() -> None:
        # After the timers of the others, and before their tasks.
        await asyncio.sleep(0)
        await check(None, UnfinishedRequest())

    outcomes = await asyncio.gather(
        *(check(None, UnfinishedRequest()) for _ in range(40)), late(), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 41


class ScriptedDatabase:
    """A database that answers pings from a script, and cancels the loop at its end."""

    def __init__(self, answers: str) -> None:
        self._answers = list(answers)

    async def ping(self) -> None:
        if not self._answers:
            raise asyncio.CancelledError
        answer = self._answers.pop(0)
        if answer == "-":
            raise StoreUnavailable
        if answer == "!":
            raise RuntimeError("unexpected")


@pytest.mark.parametrize(
    ("answers", "changes"),
    [
        ("++++", []),
        ("--+--+--+", []),
        ("---", [False]),
        ("-!-", [False]),
        ("---+-+-+", [False]),
        ("---++", [False, True]),
        ("------++---++", [False, True, False, True]),
    ],
)
async def test_health_changes_after_several_pings_in_a_row(answers: str, changes: list[bool]) -> None:
    seen: list[bool] = []
    heard: list[bool] = []

    class Listening(Health):
        async def set_serving(self, serving: bool) -> None:
            seen.append(serving)

    with pytest.raises(asyncio.CancelledError):
        await follow_database(Listening([""]), ScriptedDatabase(answers).ping, heard.append, interval=0)

    assert seen == changes
    assert heard == [answer == "+" for answer in answers]


@pytest.mark.parametrize(
    ("let_in", "changes"),
    [("++++", []), ("--+--+", []), ("---", [False]), ("---+-+", [False]), ("---++", [False, True])],
)
async def test_health_changes_after_callers_could_not_be_let_in_several_times_in_a_row(
    let_in: str, changes: list[bool]
) -> None:
    seen: list[bool] = []
    heard: list[bool] = []
    answers = iter(let_in)

    class Listening(Health):
        async def set_serving(self, serving: bool) -> None:
            seen.append(serving)

    with pytest.raises(asyncio.CancelledError):
        await follow_database(
            Listening([""]),
            ScriptedDatabase("+" * len(let_in)).ping,
            heard.append,
            lets_callers_in=lambda: next(answers) == "+",
            interval=0,
        )

    assert seen == changes
    assert heard == [True] * len(let_in)
