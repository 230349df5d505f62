"""What callers hear who ask at the same moment, and so are answered by common commands."""

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


async def test_every_reader_gets_what_it_asked_for(api: Api) -> None:
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

    heard = [answer.contact_method if hasattr(answer, "contact_method") else answer for answer in outcomes]
    assert heard == [expected for _, expected in asked]


async def test_everybody_who_asks_for_a_primary_gets_it(api: Api) -> None:
    primaries = {i: await api.create(f"client_{i}", is_primary=True) for i in range(10)}

    found = await asyncio.gather(*(api.primary_id(f"client_{i % 12}") for i in range(40)))

    assert found == [primaries[i % 12].id if i % 12 in primaries else None for i in range(40)]


async def test_everybody_who_lists_a_client_gets_its_page(api: Api) -> None:
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
async def test_creates_that_arrive_together_have_outcomes_of_their_own(api: Api, primary: bool) -> None:
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
