from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import contactsvc_client as sdk_package
import grpc
import pytest
from contactsvc_client import (
    APIError,
    AsyncContactsClient,
    ConflictError,
    ContactsClient,
    ContactsError,
    NetworkError,
    ServerError,
    ValidationError,
    collect_all,
    collect_up_to,
    contains,
    get_first,
    one_of,
)
from contactsvc_client import errors as sdk_errors
from contactsvc_client.filters import filter_message, sort_messages

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import Api


class FakeService(pb_grpc.ContactMethodsServiceServicer):
    """Answers with what it is told to, and remembers the calls."""

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.seen: list[tuple[str, dict[str, Any]]] = []

    async def _answer(self, name: str, context: Any, response: Any) -> Any:
        self.seen.append((name, dict(context.invocation_metadata())))
        if self.failures:
            await context.abort(self.failures.pop(0), "told to")
        return response

    async def GetContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("get", context, pb.GetContactMethodResponse())

    async def CreateContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("create", context, pb.CreateContactMethodResponse())

    async def GetPrimaryContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        await asyncio.Event().wait()


@asynccontextmanager
async def faked() -> AsyncIterator[tuple[FakeService, str]]:
    server, service = grpc.aio.server(), FakeService()
    pb_grpc.add_ContactMethodsServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_reads_are_retried_while_the_service_is_unavailable() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == 3


async def test_writes_are_not_retried() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        with pytest.raises(NetworkError):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

        assert len(service.seen) == 1


async def test_every_call_carries_key_and_environment() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, api_key="k", environment="test") as sdk:
        await sdk.contact_methods.retrieve("x")

        assert service.seen[0][1]["authorization"] == "Bearer k"
        assert service.seen[0][1]["x-environment"] == "test"
        assert "k" not in repr(sdk).removeprefix("AsyncContactsClient")


async def test_every_call_has_a_timeout() -> None:
    async with faked() as (_, target), AsyncContactsClient(target, timeout=0.05) as sdk:
        with pytest.raises(TimeoutError) as raised:
            await sdk.contact_methods.get_primary("c", "email")

        assert isinstance(raised.value, APIError)


async def test_nobody_there_is_a_network_error() -> None:
    async with AsyncContactsClient("127.0.0.1:1", timeout=5) as sdk:
        with pytest.raises(NetworkError) as raised:
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

    assert raised.value.reason is None
    assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_an_exception(code: grpc.StatusCode) -> None:
    assert code in sdk_errors._CLASSES


def test_every_exception_is_exported() -> None:
    def below(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(ContactsError) <= set(sdk_package.__all__)


def test_an_unavailable_database_is_a_fault_of_the_server() -> None:
    error = sdk_errors.from_batch_error(pb.BatchError(code=14, reason="STORE_UNAVAILABLE", message="m"))

    assert isinstance(error, ServerError)


def test_filters_become_messages() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)

    message = filter_message(
        {"client_id": "c", "type": one_of("email", "fax"), "value": contains("@x"), "id": ["a", "b"],
         "is_primary": False, "metadata": {"k": "v"}, "created_before": noon}
    )  # fmt: skip

    assert message is not None
    assert (list(message.client_ids), list(message.ids)) == (["c"], ["a", "b"])
    assert list(message.types) == [pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_FAX]
    assert (message.value_contains, dict(message.metadata)) == ("@x", {"k": "v"})
    assert message.HasField("is_primary")
    assert message.created_before.seconds == int(noon.timestamp())


@pytest.mark.parametrize(
    ("filter_", "hint"),
    [
        ({"types": "email"}, "did you mean type"),
        ({"type": "pager"}, "must be one of"),
        ({"id": []}, "at least one"),
        ({"created_before": datetime(2026, 1, 1)}, "time zone"),
        ({"is_primary": "yes"}, "wrong type"),
    ],
)
def test_filters_that_say_nothing_are_refused(filter_: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        filter_message(filter_)


def test_sorts_become_messages() -> None:
    (key,) = sort_messages("-updated_at")

    assert (key.field, key.descending) == (pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, True)
    with pytest.raises(ValidationError):
        sort_messages("value")


async def test_the_helpers_take_any_iterator() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    assert collect_all(range(3)) == [0, 1, 2]
    assert await collect_all(numbers()) == [0, 1, 2, 3, 4]
    assert collect_up_to(range(5), 2) == [0, 1]
    assert await collect_up_to(numbers(), 2) == [0, 1]
    assert await collect_up_to(numbers(), 0) == []
    assert (get_first(range(5)), get_first(())) == (0, None)
    assert await get_first(numbers()) == 0
    with pytest.raises(ValueError, match="negative"):
        collect_up_to(range(3), -1)


async def test_update_tells_omitted_from_none(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        made = await sdk.contact_methods.create(
            client_id="c",
            type="email",
            value="a@example.com",
            label="L",
            external_id="x",
            metadata={"a": "1", "b": "2"},
        )

        assert await sdk.contact_methods.update(made.id) == made
        cleared = await sdk.contact_methods.update(made.id, label=None, external_id=None, metadata={"a": None})
        with pytest.raises(ValidationError):
            await sdk.contact_methods.update(made.id, value=None)  # type: ignore[arg-type]

    assert (cleared.label, cleared.external_id, dict(cleared.metadata)) == (None, None, {"b": "2"})


async def test_partial_batches_sort_their_outcomes(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", external_id="x")

        result = await sdk.contact_methods.create_many(
            [
                {"client_id": "c", "type": "email", "value": "b@example.com"},
                {"client_id": "c", "type": "email", "value": "c@example.com", "external_id": "x"},
                {"client_id": "c", "type": "email", "value": "nonsense"},
            ],
            atomic=False,
        )

    assert not result.atomic
    assert [(index, record.value) for index, record in result.succeeded] == [(0, "b@example.com")]
    (taken_at, taken), (broken_at, broken) = result.failed
    assert (taken_at, broken_at) == (1, 2)
    assert isinstance(taken, ConflictError)
    assert taken.reason == "EXTERNAL_ID_TAKEN"
    assert isinstance(broken, ValidationError)
    assert [issue.field for issue in broken.issues] == ["requests[2].value"]


async def test_the_blocking_client_has_the_same_methods_and_works(embedded_api: Api) -> None:
    def use() -> list[str]:
        with ContactsClient(embedded_api.target) as sdk:
            for name in "abc":
                sdk.contact_methods.create(client_id="c", type="email", value=f"{name}@example.com")
            return [record.value for record in sdk.contact_methods.iterate({"client_id": "c"}, page_size=2)]

    public = [name for name in vars(sdk_package.AsyncContactMethods) if not name.startswith("_")]
    assert public == [name for name in vars(sdk_package.ContactMethods) if not name.startswith("_")]
    assert await asyncio.to_thread(use) == ["a@example.com", "b@example.com", "c@example.com"]


def test_importing_the_client_loads_neither_drivers_nor_server() -> None:
    script = (
        "import sys, contactsvc_client;"
        "bad = {'motor', 'pymongo', 'bson', 'phonenumbers', 'contactsvc.server', 'contactsvc.store'};"
        "sys.exit(str(bad & set(sys.modules)) if bad & set(sys.modules) else 0)"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
