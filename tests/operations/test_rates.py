"""Rates of calls per API key."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from contactsvc.errors import Overloaded
from contactsvc.runtime.server import Limits
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of
from tests.operations.guarded import Guarded, bearer, guarded
from tests.operations.test_limits import value_of

LISTING = pb.ListContactMethodsRequest()


async def accepted(stub: Any, calls: int) -> int:
    """Return how many of these calls, one after the other, are accepted."""
    codes = []
    for _ in range(calls):
        call = stub.ListContactMethods(LISTING)
        codes.append(await call.code())
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    return codes.count(grpc.StatusCode.OK)


async def refusal(server: Guarded, text: str) -> tuple[float, str]:
    """Return the delay and the message of a call that is refused."""
    call = server.api.stub.ListContactMethods(LISTING, metadata=(bearer(text),))
    failure = await failure_of(call)
    trailing = dict(await call.trailing_metadata())
    status, retry = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert trailing["grpc-retry-pushback-ms"] == str(retry.retry_delay.ToMilliseconds())
    return retry.retry_delay.ToMilliseconds() / 1000, failure.message


async def test_a_key_is_refused_beyond_its_rate_and_accepted_after_the_delay(on_embedded: OpenStores) -> None:
    metrics = Metrics()
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=3), metrics=metrics) as server:
        text, another = server.keys.make(), await server.stub_with()
        stub = await server.stub_of(text)

        burst = await accepted(stub, 5)
        delay, message = await refusal(server, text)
        server.time.seconds += delay - 0.002
        too_early = await accepted(stub, 1)
        server.time.seconds += 0.002
        in_time = await accepted(stub, 2)
        of_another_key = await accepted(another, 3)

    assert (burst, too_early, in_time, of_another_key) == (3, 0, 1, 3)
    assert delay == pytest.approx(1 / 3, abs=0.001)
    assert message == "the API key exceeds its 3 calls per second; retry after 0.334 s"
    assert value_of(metrics, "contactsvc_rejected_calls_total", limit="rate") == 5
    assert value_of(metrics, "contactsvc_rejected_calls_total", limit="key") == 0
    assert value_of(metrics, "contactsvc_in_flight_calls") == 0


async def test_a_refused_call_has_no_effect(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=1)) as server:
        stub = await server.stub_with()
        request = pb.CreateContactMethodRequest(client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value="v")
        await stub.CreateContactMethod(request)
        await failure_of(stub.CreateContactMethod(request))
        server.time.seconds += 1

        listed = await stub.ListContactMethods(LISTING)

    assert len(listed.contact_methods) == 1


async def test_a_bucket_holds_one_second_however_long_the_key_is_idle(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=2)) as server:
        stub = await server.stub_with()
        assert await accepted(stub, 3) == 2

        server.time.seconds += 10

        assert await accepted(stub, 4) == 2


async def test_a_key_has_its_own_rate_before_that_of_the_service(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=3)) as server:
        slower, faster = await server.stub_with(rate=0.5), await server.stub_with(rate=5.0)
        unlimited = await server.stub_with(rate=0.0)

        assert await accepted(slower, 3) == 1
        assert await accepted(faster, 7) == 5
        assert await accepted(unlimited, 20) == 20
        assert (await refusal(server, slower.text))[0] == 2.0


async def test_a_key_may_have_a_rate_where_the_service_sets_none(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded) as server:
        limited, free = await server.stub_with(rate=1.0), await server.stub_with()

        assert await accepted(limited, 3) == 1
        assert await accepted(free, 20) == 20


async def test_callers_without_a_key_and_refused_ones_take_no_tokens(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=1)) as server:
        for _ in range(5):
            await server.api.stub.ListContactMethods(LISTING)
        text = server.keys.make()
        await server.gate.refresh()
        for wrong in (f"{text[:-1]}x", text.replace("_live_", "_test_")):
            assert (await server.verdict(bearer(wrong)))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await server.verdict(bearer(text), ("x-environment", "test")))[0] is grpc.StatusCode.PERMISSION_DENIED

        assert await accepted(await server.stub_of(text), 2) == 1


async def test_a_changed_rate_counts_from_then_on(on_embedded: OpenStores) -> None:
    async with guarded(on_embedded, limits=Limits(max_rate_per_key=1)) as server:
        text = server.keys.make()
        stub = await server.stub_of(text)
        assert await accepted(stub, 2) == 1

        server.keys.change(text, rate=100.0)
        await server.gate.refresh()
        server.time.seconds += 1

        assert await accepted(stub, 101) == 100


def test_the_error_says_when_to_come_back() -> None:
    error = Overloaded.by_rate(0.5, 1.25)

    assert error.retry_after == 1.25
    assert error.message == "the API key exceeds its 0.5 calls per second; retry after 1.25 s"
    assert Overloaded("in this process").retry_after == 0.5
