"""Calls that meet a server that is stopping, as callers see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from contactsvc_client import AsyncContactsClient, NetworkError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contactsvc.domain.kinds import Environment
from contactsvc.rpc.draining import DrainingHandler
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of, serving
from tests.operations.stores import HeldStore

SERVICE = "contactsvc.v1.ContactMethodsService"


async def test_a_stopping_server_refuses_new_calls_and_finishes_those_in_flight(on_embedded: OpenStores) -> None:
    stores: Any = await on_embedded()
    store = stores[Environment.LIVE] = HeldStore(stores[Environment.LIVE])
    async with serving(stores) as api, grpc.aio.insecure_channel(api.target) as channel:
        record = await api.create()
        in_flight = asyncio.create_task(api.get(record.id))
        await store.wait_for(1)

        api.server.refuse_new_calls()
        refused = api.stub.GetContactMethod(pb.GetContactMethodRequest(id=record.id))
        unary = await failure_of(refused)
        pushback = dict(await refused.trailing_metadata())["grpc-retry-pushback-ms"]
        stream = await failure_of(api.stub.StreamContactMethods(pb.StreamContactMethodsRequest()).read())
        health: Any = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        store.go.set()

        assert await in_flight == record

    # Without a reason of the contract, as gRPC itself reports an unreachable server.
    assert {(failure.code, failure.reason) for failure in (unary, stream)} == {(grpc.StatusCode.UNAVAILABLE, "")}
    assert int(pushback) > 0
    assert health.status == health_pb2.HealthCheckResponse.SERVING


class EveryMethod(grpc.GenericRpcHandler):
    """A handler of every method."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return object()


@pytest.mark.parametrize(("calls", "all_refused"), [(0, True), (5, True), (1000, False)])
async def test_a_drain_waits_for_late_calls_but_not_forever(calls: int, all_refused: bool) -> None:
    handler = DrainingHandler(EveryMethod(), tick_seconds=0)
    details: Any = None
    handler.close()

    async def call() -> None:
        for _ in range(calls):
            handler.service(details)
            await asyncio.sleep(0)

    calling = asyncio.create_task(call())
    await handler.quiet()

    assert (handler.refused == calls) is all_refused
    assert calling.done() is all_refused
    calling.cancel()


class Answers:
    """A service that answers each call by the next of given statuses, and then with success.

    Attributes:
        requests: what it received.
        called: set by every call.
    """

    def __init__(self, *statuses: status_pb2.Status) -> None:
        self._statuses = list(statuses)
        self.requests: list[Any] = []
        self.called = asyncio.Event()
        self.held: asyncio.Event | None = None

    def handler(self, method: str) -> grpc.GenericRpcHandler:
        descriptor = pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods_by_name[method]
        request_class = getattr(pb, descriptor.input_type.name)
        response = getattr(pb, descriptor.output_type.name)().SerializeToString()

        async def answer(raw: bytes, context: Any) -> bytes:
            self.requests.append(request_class.FromString(raw))
            self.called.set()
            if self.held is not None:
                await self.held.wait()
            if self._statuses:
                status = self._statuses.pop(0)
                code = {code.value[0]: code for code in grpc.StatusCode}[status.code]
                await context.abort(code, "", (("grpc-status-details-bin", status.SerializeToString()),))
            return response  # type: ignore[no-any-return]

        return grpc.method_handlers_generic_handler(SERVICE, {method: grpc.unary_unary_rpc_method_handler(answer)})


@asynccontextmanager
async def answering(answers: Answers, method: str) -> AsyncIterator[AsyncContactsClient]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([answers.handler(method)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AsyncContactsClient(f"127.0.0.1:{port}") as sdk:
            yield sdk
    finally:
        await server.stop(None)


def status(code: grpc.StatusCode, reason: str = "") -> status_pb2.Status:
    made = status_pb2.Status(code=code.value[0])
    if reason:
        made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="contactsvc"))
    return made


# How gRPC ends calls that reach a server while it stops, before any handler runs.
CANCELLED = status(grpc.StatusCode.CANCELLED)


async def test_a_write_cancelled_by_a_stopping_server_is_repeated_as_the_same_write() -> None:
    answers = Answers(CANCELLED, CANCELLED)
    async with answering(answers, "DeleteContactMethod") as sdk:
        await sdk.contact_methods.delete("contact_1")

    first, *repeated = answers.requests
    assert repeated == [first, first]
    assert first.request_id


async def test_a_read_cancelled_by_a_stopping_server_is_repeated() -> None:
    answers = Answers(CANCELLED)
    async with answering(answers, "GetPrimaryContactMethod") as sdk:
        assert await sdk.contact_methods.get_primary("client_1", "email") is None

    assert len(answers.requests) == 2


async def test_a_cancelled_write_that_might_be_done_twice_is_not_repeated() -> None:
    answers = Answers(status(grpc.StatusCode.FAILED_PRECONDITION, "TRANSACTIONS_UNSUPPORTED"), CANCELLED)
    async with answering(answers, "DeleteContactMethod") as sdk:
        with pytest.raises(NetworkError) as raised:
            await sdk.contact_methods.delete("contact_1")

    assert raised.value.code == "CANCELLED"
    assert [bool(request.request_id) for request in answers.requests] == [True, False]


async def test_a_call_that_its_caller_cancels_is_not_repeated() -> None:
    answers = Answers()
    answers.held = asyncio.Event()
    async with answering(answers, "DeleteContactMethod") as sdk:
        call = asyncio.create_task(sdk.contact_methods.delete("contact_1"))
        await answers.called.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        answers.held.set()
        await sdk.contact_methods.delete("contact_2")

    assert [request.id for request in answers.requests] == ["contact_1", "contact_2"]
