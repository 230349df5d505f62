"""Results and exceptions of the client, and the two kinds of client."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
import subprocess
import sys
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
    ForbiddenError,
    NetworkError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TimeoutError,  # noqa: A004
    UnauthorizedError,
    ValidationError,
)

from contactsvc.errors import StoreUnavailable
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api
from tests.unit.fake_service import faked

EXCEPTIONS: dict[grpc.StatusCode, type[ContactsError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: ValidationError,
    grpc.StatusCode.OUT_OF_RANGE: ValidationError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthorizedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimitError,
    grpc.StatusCode.UNAVAILABLE: NetworkError,
    grpc.StatusCode.CANCELLED: NetworkError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutError,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNKNOWN: ServerError,
    grpc.StatusCode.DATA_LOSS: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_has_an_exception(code: grpc.StatusCode) -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        # As often as the client retries.
        service.failures = [code] * 4

        with pytest.raises(ContactsError) as raised:
            await sdk.contact_methods.retrieve("x")

        assert type(raised.value) is EXCEPTIONS[code]
        assert raised.value.code == code.name


def test_every_exception_is_exported() -> None:
    def below(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(ContactsError) <= set(sdk_package.__all__)


async def test_an_unavailable_database_is_a_server_error() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, max_retries=0) as sdk:
        service.failures = [StoreUnavailable()]

        with pytest.raises(ServerError) as raised:
            await sdk.contact_methods.retrieve("x")

        # As a whole, and for an item of a batch.
        failure = pb.BatchError(code=14, reason="STORE_UNAVAILABLE", message="m")
        service.results = [pb.BatchDeleteContactMethodsResult(error=failure)]
        ((_, item),) = (await sdk.contact_methods.delete_many(["x"], atomic=False)).failed

    assert (raised.value.code, raised.value.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert isinstance(item, ServerError)
    assert (item.code, item.reason, item.message) == ("UNAVAILABLE", "STORE_UNAVAILABLE", "m")


async def test_a_write_names_the_records_that_it_demoted(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        first = await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", is_primary=True)
        second = await sdk.contact_methods.create(client_id="c", type="email", value="b@example.com", is_primary=True)
        again = await sdk.contact_methods.update(first.id, is_primary=True)
        (third,) = (
            await sdk.contact_methods.create_many(
                [{"client_id": "c", "type": "email", "value": "c@example.com", "is_primary": True}]
            )
        ).data
        (fourth,) = (await sdk.contact_methods.update_many([{"id": second.id, "is_primary": True}])).data

    written = (first, second, again, third, fourth)
    assert [record.demoted_ids for record in written] == [(), (first.id,), (second.id,), (first.id,), (third.id,)]


async def test_records_are_equal_by_what_they_store(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        made = await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", external_id="x")
        read = await sdk.contact_methods.retrieve(made.id)
        upserted = await sdk.contact_methods.upsert_by_external_id(
            "x", client_id="c", type="email", value="a@example.com"
        )
        changed = await sdk.contact_methods.update(made.id, label="Work")

    assert made == read == upserted
    assert len({made, read, upserted, changed}) == 2
    assert made != changed


async def test_a_page_is_iterable_and_sized(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        for name in "abc":
            await sdk.contact_methods.create(client_id="c", type="other", value=name)
        page = await sdk.contact_methods.list_by_client("c", limit=2)
        empty = await sdk.contact_methods.list_by_client("d")

    assert [contact.value for contact in page] == ["a", "b"]
    assert (len(page), len(empty)) == (2, 0)
    assert not empty


async def test_every_error_has_the_request_id_of_its_call(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        with pytest.raises(NotFoundError) as alone:
            await sdk.contact_methods.retrieve("nobody")
        partial = await sdk.contact_methods.delete_many(["nobody", "nothing"], atomic=False)
        with pytest.raises(APIError) as atomic:
            await sdk.contact_methods.delete_many(["nobody"])
    async with AsyncContactsClient("127.0.0.1:1", timeout=5) as sdk:
        with pytest.raises(NetworkError) as lost:
            await sdk.contact_methods.retrieve("nobody")

    ids = {error.request_id for error in (alone.value, atomic.value, lost.value, partial.failed[0][1])}
    assert None not in ids
    assert len(ids) == 4
    assert partial.failed[0][1].request_id == partial.failed[1][1].request_id


async def test_records_and_errors_can_be_copied_and_pickled(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        record = await sdk.contact_methods.create(
            client_id="c", type="email", value="a@example.com", metadata={"source": "crm"}
        )
        with pytest.raises(ValidationError) as raised:
            await sdk.contact_methods.create(client_id="", type="email", value="a@example.com")

    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record  # noqa: S301
    assert json.loads(json.dumps(dataclasses.asdict(record), default=str))["metadata"] == {"source": "crm"}
    with pytest.raises(TypeError, match="read only"):
        record.metadata["source"] = "else"  # type: ignore[index]
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert (type(again), str(again), again.to_dict()) == (ValidationError, str(raised.value), raised.value.to_dict())


async def test_a_partial_batch_separates_succeeded_from_failed_items(embedded_api: Api) -> None:
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


async def use_every_method(sdk: Any) -> dict[str, Any]:
    """Call every method of either client, with arguments of every kind."""

    async def settled(result: Any) -> Any:
        return await result if asyncio.iscoroutine(result) else result

    do = sdk.contact_methods
    seen: dict[str, Any] = {}
    made = await settled(do.create(client_id="c", type="email", value="a@example.com", is_primary=True))
    seen["update"] = await settled(do.update(made.id, label="Work", etag=made.etag))
    seen["create_many"] = await settled(
        do.create_many([{"client_id": "c", "type": "email", "value": "b@example.com", "external_id": "b"}])
    )
    seen["update_many"] = await settled(do.update_many([{"id": made.id, "label": None, "metadata": {"k": "v"}}]))
    seen["upsert"] = await settled(
        do.upsert_by_external_id("b", client_id="c", type="email", value="b@example.com", is_primary=True)
    )
    seen["upsert_many"] = await settled(
        do.upsert_many_by_external_id(
            [
                {"external_id": "b", "client_id": "c", "type": "email", "value": "b@example.com"},
                {"external_id": "x", "client_id": "c", "type": "fax", "value": "nonsense"},
            ],
            atomic=False,
        )
    )
    seen["retrieve_many"] = await settled(do.retrieve_many([made.id, "nobody"]))
    seen["sync"] = await settled(
        do.sync("c", [{"type": "email", "value": "b@example.com"}, {"type": "other", "value": "@b"}], replace=True)
    )
    seen["delete_many"] = await settled(do.delete_many([seen["sync"].created[0].id]))
    seen["erase"] = await settled(do.erase_client("c"))
    return seen


@pytest.mark.parametrize("kind", [AsyncContactsClient, ContactsClient])
async def test_every_write_has_a_method(embedded_api: Api, kind: Any) -> None:
    if kind is AsyncContactsClient:
        async with AsyncContactsClient(embedded_api.target) as sdk:
            seen = await use_every_method(sdk)
    else:
        with ContactsClient(embedded_api.target) as blocking:
            seen = await asyncio.to_thread(lambda: asyncio.run(use_every_method(blocking)))

    made = seen["update"]
    assert made.label == "Work"
    (second,) = seen["create_many"].data
    assert [(record.label, dict(record.metadata)) for record in seen["update_many"].data] == [(None, {"k": "v"})]
    assert (seen["upsert"].id, seen["upsert"].action, seen["upsert"].demoted_ids) == (second.id, "updated", (made.id,))
    ((_, unchanged),) = seen["upsert_many"].succeeded
    assert (unchanged.action, unchanged.etag) == ("unchanged", seen["upsert"].etag)
    assert [(index, error.reason) for index, error in seen["upsert_many"].failed] == [(1, "INVALID_FIELD")]
    assert ([record.id for record in seen["retrieve_many"].data], seen["retrieve_many"].missing_ids) == (
        [made.id],
        ["nobody"],
    )
    sync = seen["sync"]
    assert [record.value for record in sync.created] == ["@b"]
    assert ([record.id for record in sync.unchanged], sync.deleted_ids) == ([second.id], [made.id])
    assert seen["delete_many"].data == [sync.created[0].id]
    assert seen["erase"] == 1


async def test_the_blocking_client_has_the_same_methods_and_works(embedded_api: Api) -> None:
    def use() -> list[str]:
        with ContactsClient(embedded_api.target) as sdk:
            for name in "abc":
                sdk.contact_methods.create(client_id="c", type="email", value=f"{name}@example.com")
            return [record.value for record in sdk.contact_methods.iterate({"client_id": "c"}, page_size=2)]

    public = [name for name in dir(sdk_package.AsyncContactMethods) if not name.startswith("_")]
    assert public == [name for name in dir(sdk_package.ContactMethods) if not name.startswith("_")]
    assert len(public) == 21
    assert await asyncio.to_thread(use) == ["a@example.com", "b@example.com", "c@example.com"]


def test_importing_the_client_loads_neither_drivers_nor_the_service() -> None:
    script = (
        "import sys, contactsvc_client;"
        "bad = {'motor', 'pymongo', 'bson', 'phonenumbers', 'contactsvc'};"
        "sys.exit(str(bad & set(sys.modules)) if bad & set(sys.modules) else 0)"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
