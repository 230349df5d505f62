from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, ids, serving

EMAIL = pb.CONTACT_METHOD_TYPE_EMAIL
SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]


def new(value: str = "a@example.com", **fields: Any) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(client_id="client_1", type=EMAIL, value=value, **fields)


def upsert(**fields: Any) -> pb.UpsertContactMethodRequest:
    return pb.UpsertContactMethodRequest(
        external_id="u", client_id="client_1", type=EMAIL, value="u@example.com", **fields
    )


# Of every RPC that writes: a request on the record `id_` or beside it, and another one that it could be mixed up with.
WRITES: dict[str, Callable[[str], tuple[Any, Any]]] = {
    "CreateContactMethod": lambda _: (new(is_primary=True), new("b@example.com")),
    "UpdateContactMethod": lambda id_: (
        pb.UpdateContactMethodRequest(id=id_, label="New", is_primary=True),
        pb.UpdateContactMethodRequest(id=id_, label="Newer"),
    ),
    "DeleteContactMethod": lambda id_: (
        pb.DeleteContactMethodRequest(id=id_),
        pb.DeleteContactMethodRequest(id=id_, allow_missing=True),
    ),
    "BatchCreateContactMethods": lambda _: (
        pb.BatchCreateContactMethodsRequest(requests=[new(), new("b@example.com")]),
        pb.BatchCreateContactMethodsRequest(requests=[new("b@example.com"), new()]),
    ),
    "BatchUpdateContactMethods": lambda id_: (
        pb.BatchUpdateContactMethodsRequest(requests=[pb.UpdateContactMethodRequest(id=id_, label="New")]),
        pb.BatchUpdateContactMethodsRequest(requests=[pb.UpdateContactMethodRequest(id=id_)]),
    ),
    "BatchDeleteContactMethods": lambda id_: (
        pb.BatchDeleteContactMethodsRequest(ids=[id_, "nobody"], partial=True),
        pb.BatchDeleteContactMethodsRequest(ids=[id_], partial=True),
    ),
    "UpsertContactMethod": lambda _: (upsert(), upsert(label="Other")),
    "BatchUpsertContactMethods": lambda _: (
        pb.BatchUpsertContactMethodsRequest(requests=[upsert()]),
        pb.BatchUpsertContactMethodsRequest(requests=[upsert()], partial=True),
    ),
    "SyncClientContactMethods": lambda _: (
        pb.SyncClientContactMethodsRequest(
            client_id="client_1", items=[pb.SyncItem(type=EMAIL, value="s@example.com")], replace=True
        ),
        pb.SyncClientContactMethodsRequest(client_id="client_1"),
    ),
    "EraseClientContactMethods": lambda _: (
        pb.EraseClientContactMethodsRequest(client_id="client_1"),
        pb.EraseClientContactMethodsRequest(client_id="client_2"),
    ),
    "SetContactMethodVerification": lambda id_: (
        pb.SetContactMethodVerificationRequest(id=id_, verified=True),
        pb.SetContactMethodVerificationRequest(id=id_),
    ),
}
# Those need a code; test_verification.py repeats them.
WITH_CODES = {"StartContactMethodVerification", "CheckContactMethodVerification"}


def marked(request: Any, request_id: str = "r-1") -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = request_id
    return copy


async def everything(api: Api) -> list[pb.ContactMethod]:
    listed = await api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=200))
    return list(listed.contact_methods)


def test_every_rpc_that_writes_is_tested() -> None:
    writing = {method.name for method in SERVICE.methods if "request_id" in method.input_type.fields_by_name}

    assert set(WRITES) == writing - WITH_CODES
    assert all(method.GetOptions().idempotency_level == 1 for method in SERVICE.methods if method.name not in writing)


@pytest.mark.parametrize("rpc", WRITES)
async def test_a_repeated_request_writes_nothing_again_and_has_the_first_outcome(embedded_api: Api, rpc: str) -> None:
    before = await embedded_api.create(value="before@example.com", is_primary=True)
    call: Any = getattr(embedded_api.stub, rpc)
    request, other = WRITES[rpc](before.id)

    first = await call(marked(request))
    stored = await everything(embedded_api)
    again = await call(marked(request))
    failure = await failure_of(call(marked(other)))

    assert again == first
    assert await everything(embedded_api) == stored
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
    await call(marked(other, "r-2"))


@pytest.mark.parametrize("rpc", WRITES)
async def test_twenty_callers_with_one_request_write_once(embedded_api: Api, rpc: str) -> None:
    before = await embedded_api.create(value="before@example.com", is_primary=True)
    call: Any = getattr(embedded_api.stub, rpc)
    request, _ = WRITES[rpc](before.id)

    responses = await asyncio.gather(*(call(marked(request)) for _ in range(20)))

    assert all(response == responses[0] for response in responses)
    once = {
        "CreateContactMethod": 2,
        "DeleteContactMethod": 0,
        "BatchCreateContactMethods": 3,
        "BatchDeleteContactMethods": 0,
    }
    once |= {"UpsertContactMethod": 2, "BatchUpsertContactMethods": 2, "EraseClientContactMethods": 0}
    assert await embedded_api.total() == once.get(rpc, 1)


async def test_a_request_id_belongs_to_one_rpc(embedded_api: Api) -> None:
    record = await embedded_api.create()
    requests = {rpc: marked(make(record.id)[1]) for rpc, make in WRITES.items()}
    await embedded_api.stub.UpdateContactMethod(marked(pb.UpdateContactMethodRequest(id=record.id, label="New")))

    for rpc, request in requests.items():
        failure = await failure_of(getattr(embedded_api.stub, rpc)(request))

        assert failure.reason == "REQUEST_ID_REUSED", rpc
        assert failure.fields == ["request_id"], rpc
    assert await embedded_api.total() == 1


async def test_a_repeated_request_shows_the_record_as_it_now_is(embedded_api: Api) -> None:
    created = await embedded_api.stub.CreateContactMethod(marked(new()))
    id_ = created.contact_method.id
    changed = await embedded_api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=id_, label="New"))

    again = await embedded_api.stub.CreateContactMethod(marked(new()))

    assert again.contact_method == changed.contact_method


async def test_a_late_repetition_brings_no_deleted_record_back(embedded_api: Api) -> None:
    created = await embedded_api.stub.CreateContactMethod(marked(new(), "create"))
    batch = marked(pb.BatchCreateContactMethodsRequest(requests=[new("b@example.com"), new("c@example.com")]), "batch")
    batched = await embedded_api.stub.BatchCreateContactMethods(batch)
    await embedded_api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=created.contact_method.id))
    await embedded_api.stub.DeleteContactMethod(
        pb.DeleteContactMethodRequest(id=batched.results[0].contact_method.id, request_id="delete")
    )

    failure = await failure_of(embedded_api.stub.CreateContactMethod(marked(new(), "create")))
    again = await embedded_api.stub.BatchCreateContactMethods(batch)

    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CONTACT_METHOD_NOT_FOUND")
    assert again.results[0].error.reason == "CONTACT_METHOD_NOT_FOUND"
    assert again.results[1] == batched.results[1]
    assert await embedded_api.total() == 1


async def test_a_late_repetition_brings_no_erased_data_back(embedded_api: Api) -> None:
    await embedded_api.stub.CreateContactMethod(marked(new(), "create"))
    await embedded_api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="client_1"))

    await failure_of(embedded_api.stub.CreateContactMethod(marked(new(), "create")))

    assert await embedded_api.total() == 0


async def test_a_repeated_promotion_does_not_undo_a_later_one(embedded_api: Api) -> None:
    first, second = await embedded_api.create(), await embedded_api.create()
    promote = marked(pb.UpdateContactMethodRequest(id=first.id, is_primary=True))
    # The second time there is nothing to change, and that is remembered as well.
    for request_id in ("changes", "changes nothing"):
        await embedded_api.stub.UpdateContactMethod(marked(promote, request_id))
    await embedded_api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=second.id, is_primary=True))

    for request_id in ("changes", "changes nothing"):
        again = await embedded_api.stub.UpdateContactMethod(marked(promote, request_id))
        assert not again.contact_method.is_primary

    assert await embedded_api.primary_id("client_1") == second.id


async def test_requests_that_failed_are_not_remembered(embedded_api: Api) -> None:
    invalid = await failure_of(embedded_api.stub.CreateContactMethod(marked(new("nonsense"))))
    missing = await failure_of(
        embedded_api.stub.UpdateContactMethod(marked(pb.UpdateContactMethodRequest(id="nobody", label="x")))
    )
    hopeless = marked(pb.BatchDeleteContactMethodsRequest(ids=["nobody"], partial=True))
    assert (await embedded_api.stub.BatchDeleteContactMethods(hopeless)).results[0].HasField("error")

    created = await embedded_api.stub.CreateContactMethod(marked(new()))

    assert (invalid.reason, missing.reason) == ("INVALID_FIELD", "CONTACT_METHOD_NOT_FOUND")
    assert created.contact_method.value == "a@example.com"


async def test_a_partial_batch_is_remembered_with_its_failures(embedded_api: Api) -> None:
    holder = await embedded_api.create(external_id="x")
    batch = marked(
        pb.BatchCreateContactMethodsRequest(
            requests=[new("nonsense"), new(external_id="x"), new("good@example.com")], partial=True
        )
    )

    first = await embedded_api.stub.BatchCreateContactMethods(batch)
    await embedded_api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=holder.id))
    again = await embedded_api.stub.BatchCreateContactMethods(batch)

    assert again == first
    assert first.results[1].error.metadata["existing_id"] == holder.id
    assert await embedded_api.total() == 1


async def test_a_record_that_is_written_often_remembers_every_request(embedded_api: Api) -> None:
    record = await embedded_api.create()
    updates = [pb.UpdateContactMethodRequest(id=record.id, label=f"{i}", request_id=f"r{i}") for i in range(40)]

    for update in updates:
        await embedded_api.stub.UpdateContactMethod(update)
    again = await asyncio.gather(*(embedded_api.stub.UpdateContactMethod(update) for update in updates))

    assert {response.contact_method.label for response in again} == {"39"}
    documents = await embedded_api.stores[Environment.LIVE]._collection.find({"_id": record.id}).to_list(None)
    assert len(documents[0]["requests"]) < 20


async def test_the_memory_is_no_contact_method(embedded_api: Api) -> None:
    records = [await embedded_api.create(request_id=f"c{i}") for i in range(3)]
    await embedded_api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=records[0].id, request_id="d"))
    await embedded_api.stub.BatchDeleteContactMethods(
        pb.BatchDeleteContactMethodsRequest(ids=[records[1].id, "nobody"], partial=True, request_id="b")
    )
    stub, left = embedded_api.stub, records[2]

    listed = await stub.ListContactMethods(
        pb.ListContactMethodsRequest(
            filter=pb.ContactMethodFilter(ids=ids(records), is_verified=False), include_total_size=True
        )
    )
    streamed = [page async for page in stub.StreamContactMethods(pb.StreamContactMethodsRequest())]
    got = await stub.BatchGetContactMethods(pb.BatchGetContactMethodsRequest(ids=ids(records)))

    assert await everything(embedded_api) == [left]
    assert (list(listed.contact_methods), listed.total_size) == ([left], 1)
    assert [list(page.contact_methods) for page in streamed] == [[left]]
    assert (list(got.contact_methods), list(got.missing_ids)) == ([left], ids(records[:2]))
    assert await embedded_api.total() == 1
    failure = await failure_of(embedded_api.get(records[0].id))
    assert failure.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("rpc", WRITES)
async def test_a_request_is_forgotten_after_a_day(on_embedded: OpenStores, rpc: str) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    async with serving(await on_embedded(), clock=lambda: now) as api:
        call: Any = getattr(api.stub, rpc)
        records = [await api.create() for _ in range(2)]
        request, other = WRITES[rpc](records[0].id)

        await call(marked(request))
        now += timedelta(hours=23, minutes=59)
        failure = await failure_of(call(marked(other)))
        now += timedelta(minutes=1)
        # On the other record, since the first may be gone.
        await call(marked(WRITES[rpc](records[1].id)[0]))

    assert failure.reason == "REQUEST_ID_REUSED"


async def test_environments_do_not_share_request_ids(embedded_api: Api) -> None:
    live = await embedded_api.stub.CreateContactMethod(marked(new()))
    test = await embedded_api.stub.CreateContactMethod(
        marked(new("other@example.com")), metadata=(("x-environment", "test"),)
    )

    assert live.contact_method.id != test.contact_method.id


@pytest.mark.parametrize("rpc", WRITES)
async def test_without_transactions_a_request_id_is_refused(standalone_api: Api, rpc: str) -> None:
    failure = await failure_of(getattr(standalone_api.stub, rpc)(marked(WRITES[rpc]("nobody")[0])))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TRANSACTIONS_UNSUPPORTED")
    assert await standalone_api.total() == 0


async def test_callers_who_use_an_expired_request_id_at_once_write_once(on_embedded: OpenStores) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    async with serving(await on_embedded(), clock=lambda: now) as api:
        await api.stub.CreateContactMethod(marked(new()))
        now += timedelta(hours=25)

        responses = await asyncio.gather(
            *(api.stub.CreateContactMethod(marked(new("b@example.com"))) for _ in range(30))
        )

        assert len({response.contact_method.id for response in responses}) == 1
        assert await api.total() == 2


async def test_what_came_of_a_batch_is_not_remembered_in_a_record(embedded_api: Api) -> None:
    record = await embedded_api.create()
    wrong = pb.UpdateContactMethodRequest(id=record.id, remove_metadata_keys=[""] * 50)
    requests = [pb.UpdateContactMethodRequest(id=record.id, label="New"), *[wrong] * 249]

    await embedded_api.stub.BatchUpdateContactMethods(
        pb.BatchUpdateContactMethodsRequest(requests=requests, partial=True, request_id="r-1")
    )

    store = embedded_api.stores[Environment.LIVE]
    (document,) = await store._collection.find({"_id": record.id}).to_list(None)
    assert "requests" not in document


async def test_a_change_between_a_request_and_its_repetition_stays(embedded_api: Api) -> None:
    record = await embedded_api.create()
    first = marked(pb.UpdateContactMethodRequest(id=record.id, label="First"))
    await embedded_api.stub.UpdateContactMethod(first)
    await embedded_api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, label="Second"))

    again = await embedded_api.stub.UpdateContactMethod(first)

    assert again.contact_method.label == "Second"
    assert (await embedded_api.get(record.id)).label == "Second"
