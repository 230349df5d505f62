"""Erasures and syncs of clients with more records than one command writes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from contactsvc.domain.clock import now_utc
from contactsvc.domain.idempotency import IdempotencyRecord, RequestFingerprint
from contactsvc.domain.ids import ContactMethodIds, new_etag
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Environment
from contactsvc.domain.outcomes import Action, Applied
from contactsvc.domain.patch import Patch
from contactsvc.store import to_document
from contactsvc.store.idempotency_records import idempotency_fields
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of

EMAIL = pb.CONTACT_METHOD_TYPE_EMAIL
COUNT = 250


async def plant(api: Api, client_id: str, count: int = COUNT) -> list[str]:
    """Insert records of a client behind the service's back; return their ids."""
    make_id = ContactMethodIds(now_utc)
    documents = []
    for number in range(count):
        value = f"{client_id}.{number}@example.com"
        patch = Patch(type=ContactMethodType.EMAIL, value=ContactValue(value, value), is_primary=number == 0)
        documents.append(to_document(patch.create(id_=make_id(), client_id=client_id, etag=new_etag(), now=now_utc())))
    collection = api.stores[Environment.LIVE]._collection
    await collection.insert_many(documents)
    return [document["_id"] for document in documents]


async def test_a_large_client_is_erased_as_a_whole(api: Api) -> None:
    await plant(api, "large")
    (other,) = await plant(api, "other", 1)

    erased = await api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="large"))

    assert erased.erased_count == COUNT
    assert await api.total() == 1
    assert (await api.get(other)).client_id == "other"


@pytest.mark.needs_transactions
async def test_the_requests_of_erased_records_are_remembered(api: Api) -> None:
    collection = api.stores[Environment.LIVE]._collection
    made_ids = await plant(api, "large")
    for number, id_ in enumerate(made_ids[:120]):
        at = now_utc() - timedelta(hours=25 if number else 1)
        record = IdempotencyRecord(RequestFingerprint(f"r{number}", b"x"), at, (Applied(Action.CREATED, id_),))
        await collection.update_one({"_id": id_}, {"$set": idempotency_fields([record])})
    erase = pb.EraseClientContactMethodsRequest(client_id="large", request_id="erasure")

    erased = await api.stub.EraseClientContactMethods(erase)
    again = await api.stub.EraseClientContactMethods(erase)
    reused = await failure_of(api.create("another", request_id="r0"))

    assert (erased.erased_count, again.erased_count) == (COUNT, COUNT)
    assert reused.reason == "REQUEST_ID_REUSED"
    # Those of the first record and of the erasure; the others had expired.
    assert await collection.count_documents({}) == 2
    assert await api.create("another", request_id="r1")


@pytest.mark.needs_transactions
async def test_a_sync_deletes_the_many_records_that_it_does_not_name(api: Api) -> None:
    kept, *others = await plant(api, "large")

    response = await api.stub.SyncClientContactMethods(
        pb.SyncClientContactMethodsRequest(
            client_id="large",
            items=[pb.SyncItem(id=kept, type=EMAIL, value="large.0@example.com", is_primary=True)],
            replace=True,
        )
    )

    assert sorted(response.deleted_ids) == sorted(others)
    assert await api.total() == 1
    assert (await api.get(kept)).is_primary


@pytest.mark.needs_transactions
async def test_a_sync_leaves_the_records_of_a_large_client_alone_that_it_does_not_change(api: Api) -> None:
    first, *_ = await plant(api, "large")
    item = pb.SyncItem(type=EMAIL, value="large.0@example.com", label="first")
    etags = {document["_id"]: document["etag"] for document in await documents_of(api)}

    response = await api.stub.SyncClientContactMethods(
        pb.SyncClientContactMethodsRequest(client_id="large", items=[item])
    )

    changed = {document["_id"] for document in await documents_of(api) if etags[document["_id"]] != document["etag"]}
    assert [record.id for record in response.updated] == [first]
    assert changed == {first}


async def documents_of(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await api.stores[Environment.LIVE]._collection.find({}).to_list(None)
    return found


async def test_an_erasure_and_a_create_of_the_client_at_once_are_one_after_the_other(embedded_api: Api) -> None:
    await plant(embedded_api, "large")

    erased, created = await asyncio.gather(
        embedded_api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="large")),
        embedded_api.create("large", is_primary=False),
    )

    left = [document["_id"] for document in await documents_of(embedded_api)]
    assert (erased.erased_count, left) in [(COUNT, [created.id]), (COUNT + 1, [])]
