"""Calls of the client: retries, headers, timeouts and streams."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from contactsvc_client import (
    APIError,
    AsyncContactsClient,
    ConflictError,
    ContactsClient,
    NetworkError,
    RateLimitError,
    ServerError,
    ValidationError,
    collect_all,
    collect_up_to,
)

from contactsvc.errors import Overloaded, VerificationLimit
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api
from tests.unit.fake_service import faked


def refused(retry_after: float) -> Overloaded:
    return Overloaded.by_rate(1, retry_after)


async def test_reads_are_retried_while_the_service_is_unavailable() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == 3


async def test_writes_are_retried_with_the_request_id_of_the_first_attempt() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", request_id="mine")

        used = [request.request_id for request, _ in service.seen]
    assert len(used) == 5
    assert used[0] == used[1] == used[2]
    assert len({*used[2:]}) == 3
    assert used[4] == "mine"


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2), (50, 5)])
async def test_the_number_of_retries_can_be_set(max_retries: int, attempts: int) -> None:
    async with faked() as (service, target), AsyncContactsClient(target, max_retries=max_retries) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 9

        with pytest.raises(NetworkError):
            await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == attempts


async def test_an_overloaded_service_is_asked_again_until_it_answers() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [refused(0.001)] * 2

        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

        assert len(service.seen) == 3
        assert len({request.request_id for request, _ in service.seen}) == 1


async def test_the_blocking_client_asks_an_overloaded_service_again() -> None:
    def use(target: str) -> None:
        with ContactsClient(target) as sdk:
            sdk.contact_methods.retrieve("x")

    async with faked() as (service, target):
        service.failures = [refused(0.001)]

        await asyncio.to_thread(use, target)

        assert len(service.seen) == 2


@pytest.mark.parametrize("arguments", [{"timeout": 10}, {"max_retries": 0}])
async def test_a_delay_beyond_the_timeout_is_for_the_caller(arguments: dict[str, Any]) -> None:
    async with faked() as (service, target), AsyncContactsClient(target, **arguments) as sdk:
        service.failures = [refused(30)]

        with pytest.raises(RateLimitError) as raised:
            await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == 1
    assert (raised.value.retry_after, raised.value.to_dict()["retry_after"]) == (30, 30)


async def test_other_limits_are_not_retried() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [VerificationLimit("sends", 0.001)]

        with pytest.raises(RateLimitError) as raised:
            await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == 1
    assert (raised.value.reason, raised.value.retry_after) == ("VERIFICATION_LIMIT", 0.001)


async def test_other_failures_are_not_retried() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.INTERNAL] * 2

        with pytest.raises(ServerError):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

        assert len(service.seen) == 1


async def test_without_transactions_writes_have_no_request_id_and_are_not_retried() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.transactional = False

        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        service.failures = [grpc.StatusCode.UNAVAILABLE]
        with pytest.raises(NetworkError):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        with pytest.raises(ConflictError, match="request_id"):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", request_id="mine")

        assert [request.request_id for request, _ in service.seen] == ["", ""]


def page_of(*ids: str, token: str) -> pb.StreamContactMethodsResponse:
    return pb.StreamContactMethodsResponse(
        contact_methods=[pb.ContactMethod(id=id_) for id_ in ids], next_page_token=token
    )


async def test_a_broken_stream_is_resumed_where_it_stopped() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.pages = [
            page_of("a", "b", token="after-b"),
            grpc.StatusCode.UNAVAILABLE,
            page_of("c", token="after-c"),
            grpc.StatusCode.DEADLINE_EXCEEDED,
            page_of("d", token=""),
        ]

        found = [record.id async for record in sdk.contact_methods.iterate()]

    assert found == ["a", "b", "c", "d"]
    assert [request.page_token for request, _ in service.seen[1:]] == ["start", "after-b", "after-c"]


async def test_a_stream_that_is_refused_is_asked_for_again() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.pages = [refused(0.001), page_of("a", token="after-a"), refused(0.001), page_of("b", token="")]

        found = [record.id async for record in sdk.contact_methods.iterate()]

    assert found == ["a", "b"]
    assert [request.page_token for request, _ in service.seen[1:]] == ["start", "start", "after-a"]


async def test_a_stream_that_delivers_nothing_ends_with_its_error() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.pages = [page_of("a", token="after-a"), *[grpc.StatusCode.DEADLINE_EXCEEDED] * 2]

        with pytest.raises(TimeoutError):
            await collect_all(sdk.contact_methods.iterate())


async def test_every_call_carries_key_and_environment() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, api_key="k", environment="test") as sdk:
        await sdk.contact_methods.retrieve("x")

        assert service.seen[0][1]["authorization"] == "Bearer k"
        assert service.seen[0][1]["x-environment"] == "test"
        assert "k" not in repr(sdk).removeprefix("AsyncContactsClient")


async def test_a_key_from_a_file_may_end_with_a_line_break() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, api_key="k\n") as sdk:
        await sdk.contact_methods.retrieve("x")

        assert service.seen[0][1]["authorization"] == "Bearer k"
    with pytest.raises(ValidationError, match="api_key"):
        AsyncContactsClient("127.0.0.1:1", api_key="clé")


async def test_every_call_has_a_timeout() -> None:
    async with faked() as (_, target), AsyncContactsClient(target, timeout=0.05) as sdk:
        with pytest.raises(TimeoutError) as raised:
            await sdk.contact_methods.get_primary("c", "email")

        assert isinstance(raised.value, APIError)


async def test_an_unreachable_service_is_a_network_error() -> None:
    async with AsyncContactsClient("127.0.0.1:1", timeout=5) as sdk:
        with pytest.raises(NetworkError) as raised:
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

    assert raised.value.reason is None
    assert raised.value.code == "UNAVAILABLE"


async def test_a_request_that_is_too_large_is_a_validation_error(embedded_api: Api) -> None:
    metadata = {f"k{i}": "v" * 500 for i in range(50)}
    async with AsyncContactsClient(embedded_api.target) as sdk:
        with pytest.raises(ValidationError, match="larger than max"):
            await sdk.contact_methods.create_many(
                [{"client_id": "c", "type": "other", "value": "x", "metadata": metadata}] * 250
            )


async def test_an_iteration_over_many_pages_yields_every_record_once(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        for batch in range(4):
            await sdk.contact_methods.create_many(
                [{"client_id": "c", "type": "other", "value": f"{batch}-{i}"} for i in range(250)]
            )

        found = [record.value async for record in sdk.contact_methods.iterate({"client_id": "c"})]
        first = await collect_up_to(sdk.contact_methods.iterate(), 300)

    assert found == [f"{batch}-{i}" for batch in range(4) for i in range(250)]
    assert len(first) == 300
