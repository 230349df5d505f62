"""Concurrent calls, which common database commands answer."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, ids

EMAIL, PHONE = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE


async def outcome(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code()


async def test_every_concurrent_read_has_its_own_answer(api: Api) -> None:
    records = [
        await api.create(
            f"client_{i % 5}",
            external_id=f"x{i}",
            metadata={"k": f"{i % 3}", "own": f"{i}"},
            is_primary=i < 5,
        )
        for i in range(15)
    ]
    stub, missing = api.stub, grpc.StatusCode.NOT_FOUND
    asked: list[tuple[Any, Any]] = []
    for i, record in enumerate(records):
        asked += [
            (stub.GetContactMethod(pb.GetContactMethodRequest(id=record.id)), record),
            (stub.GetContactMethod(pb.GetContactMethodRequest(id=f"nobody{i}")), missing),
            (stub.GetContactMethodByExternalId(pb.GetContactMethodByExternalIdRequest(external_id=f"x{i}")), record),
            (stub.GetContactMethodByExternalId(pb.GetContactMethodByExternalIdRequest(external_id="y")), missing),
            (stub.GetContactMethodByMetadata(pb.GetContactMethodByMetadataRequest(key="own", value=f"{i}")), record),
            (
                stub.GetContactMethodByMetadata(pb.GetContactMethodByMetadataRequest(key="k", value=f"{i % 3}")),
                grpc.StatusCode.FAILED_PRECONDITION,
            ),
            (stub.GetContactMethodByMetadata(pb.GetContactMethodByMetadataRequest(key="k", value="9")), missing),
        ]

    outcomes = await asyncio.gather(*(outcome(call) for call, _ in asked))

    answers = [answer.contact_method if hasattr(answer, "contact_method") else answer for answer in outcomes]
    assert answers == [expected for _, expected in asked]


async def test_every_concurrent_lookup_of_a_primary_has_its_own_answer(api: Api) -> None:
    primaries = {i: await api.create(f"client_{i}", is_primary=True) for i in range(10)}

    found = await asyncio.gather(*(api.primary_id(f"client_{i % 12}") for i in range(40)))

    assert found == [primaries[i % 12].id if i % 12 in primaries else None for i in range(40)]


async def test_every_concurrent_listing_of_a_client_has_its_own_page(api: Api) -> None:
    made = {f"client_{i}": [await api.create(f"client_{i}") for _ in range(i * 3)] for i in range(5)}
    phone = await api.create("client_4", "+525512345678", type=PHONE)

    async def listed(client_id: str, **fields: Any) -> tuple[list[str], bool]:
        answer = await api.stub.ListClientContactMethods(
            pb.ListClientContactMethodsRequest(client_id=client_id, **fields)
        )
        return ids(answer.contact_methods), bool(answer.next_page_token)

    for size in (2, 200):
        pages = await asyncio.gather(*(listed(f"client_{i % 6}", page_size=size, type=EMAIL) for i in range(24)))
        assert pages == [
            (ids(made.get(f"client_{i % 6}", [])[:size]), len(made.get(f"client_{i % 6}", [])) > size)
            for i in range(24)
        ]
    both: Any = await asyncio.gather(
        listed("client_4"), listed("client_4", type=PHONE), listed("client_4", page_size=13)
    )
    everything = [*ids(made["client_4"]), phone.id]
    assert both == [(everything, False), ([phone.id], False), (everything, False)]


@pytest.mark.parametrize("primary", [False, True])
async def test_every_concurrent_create_has_its_own_outcome(api: Api, primary: bool) -> None:
    holder = await api.create("client_0", external_id="taken", is_primary=True)

    def new(i: int) -> pb.CreateContactMethodRequest:
        return pb.CreateContactMethodRequest(
            client_id=f"client_{i % 7}",
            type=EMAIL,
            value=f"{i}@example.com",
            is_primary=primary and i % 2 == 0,
            external_id="taken" if i % 10 == 3 else f"x{i}",
        )

    outcomes = await asyncio.gather(*(outcome(api.stub.CreateContactMethod(new(i))) for i in range(50)))

    for i, answer in enumerate(outcomes):
        if i % 10 == 3:
            assert answer is grpc.StatusCode.ALREADY_EXISTS
        else:
            assert (await api.get(answer.contact_method.id)).value == f"{i}@example.com"
    assert await api.total() == 46
    listed = await api.stub.ListContactMethods(
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(is_primary=True))
    )
    assert len(listed.contact_methods) == (7 if primary else 1)
    assert primary or listed.contact_methods[0] == await api.get(holder.id)


async def test_every_concurrent_change_has_its_own_outcome(api: Api) -> None:
    records = [await api.create(f"client_{i % 5}", external_id=f"x{i}", label="old") for i in range(30)]
    gone = [record.id for record in records[20:25]]

    def change(i: int) -> Any:
        record = records[i]
        if i < 10:
            return api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, label=f"new {i}"))
        if i < 15:
            # The external id of an unchanged record.
            return api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, external_id="x29"))
        if i < 20:
            return api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, label="new", etag="stale"))
        if i < 25:
            return api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=record.id))
        return api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=record.id, etag="stale"))

    outcomes = await asyncio.gather(*(outcome(change(i)) for i in range(30)))

    assert [answer.contact_method.label for answer in outcomes[:10]] == [f"new {i}" for i in range(10)]
    assert outcomes[10:15] == [grpc.StatusCode.ALREADY_EXISTS] * 5
    assert outcomes[15:20] == [grpc.StatusCode.ABORTED] * 5
    assert outcomes[20:25] == [pb.DeleteContactMethodResponse()] * 5
    assert outcomes[25:] == [grpc.StatusCode.ABORTED] * 5
    found = await api.stub.BatchGetContactMethods(pb.BatchGetContactMethodsRequest(ids=ids(records)))
    assert list(found.contact_methods) == [
        *(answer.contact_method for answer in outcomes[:10]),
        *records[10:20],
        *records[25:],
    ]
    assert list(found.missing_ids) == gone


async def test_concurrent_changes_of_one_record_all_take_effect(api: Api) -> None:
    record = await api.create()

    await asyncio.gather(
        *(
            api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, metadata={f"k{i}": "v"}))
            for i in range(20)
        )
    )

    assert set((await api.get(record.id)).metadata) == {f"k{i}" for i in range(20)}
