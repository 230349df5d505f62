from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of

EMAIL, PHONE = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE


async def update(api: Api, id_: str, **fields: Any) -> pb.UpdateContactMethodResponse:
    response: pb.UpdateContactMethodResponse = await api.stub.UpdateContactMethod(
        pb.UpdateContactMethodRequest(id=id_, **fields)
    )
    return response


async def delete(api: Api, id_: str, policy: Any) -> pb.DeleteContactMethodResponse:
    response: pb.DeleteContactMethodResponse = await api.stub.DeleteContactMethod(
        pb.DeleteContactMethodRequest(id=id_, on_primary=policy)
    )
    return response


async def test_the_first_record_is_not_primary_by_itself(api: Api) -> None:
    await api.create()

    assert await api.primary_id("client_1") is None


async def test_creating_a_primary_demotes_the_one_before(api: Api) -> None:
    first = await api.create(is_primary=True)
    request = pb.CreateContactMethodRequest(client_id="client_1", type=EMAIL, value="b@example.com", is_primary=True)

    response = await api.stub.CreateContactMethod(request)

    assert list(response.demoted_ids) == [first.id]
    assert await api.primary_id("client_1") == response.contact_method.id
    demoted = await api.get(first.id)
    assert not demoted.is_primary
    assert demoted.etag != first.etag


async def test_promoting_by_update_demotes_the_one_before(api: Api) -> None:
    first = await api.create(is_primary=True)
    second = await api.create()

    response = await update(api, second.id, is_primary=True)

    assert list(response.demoted_ids) == [first.id]
    assert response.contact_method.is_primary
    assert await api.primary_id("client_1") == second.id


async def test_other_clients_and_types_keep_their_primaries(api: Api) -> None:
    other_client = await api.create("client_2", is_primary=True)
    other_type = await api.create(type=PHONE, value="+525512345678", is_primary=True)

    await api.create(is_primary=True)

    assert await api.primary_id("client_2") == other_client.id
    assert await api.primary_id("client_1", PHONE) == other_type.id


async def test_promoting_the_present_primary_changes_nothing(api: Api) -> None:
    present = await api.create(is_primary=True)

    response = await update(api, present.id, is_primary=True)

    assert response.contact_method == present
    assert list(response.demoted_ids) == []


async def test_the_flag_can_be_taken_away(api: Api) -> None:
    present = await api.create(is_primary=True)

    response = await update(api, present.id, is_primary=False)

    assert not response.contact_method.is_primary
    assert await api.primary_id("client_1") is None


async def test_an_update_without_the_flag_leaves_it(api: Api) -> None:
    present = await api.create(is_primary=True)

    response = await update(api, present.id, label="Work")

    assert response.contact_method.is_primary


async def test_a_primary_that_changes_its_type_keeps_the_flag_when_the_new_slot_is_free(api: Api) -> None:
    present = await api.create(is_primary=True)

    response = await update(api, present.id, type=pb.CONTACT_METHOD_TYPE_OTHER)

    assert response.contact_method.is_primary
    assert await api.primary_id("client_1", pb.CONTACT_METHOD_TYPE_OTHER) == present.id
    assert await api.primary_id("client_1") is None


async def test_a_primary_that_changes_its_type_loses_the_flag_when_the_new_slot_is_taken(api: Api) -> None:
    holder = await api.create(type=pb.CONTACT_METHOD_TYPE_OTHER, value="@juan", is_primary=True)
    present = await api.create(is_primary=True)

    response = await update(api, present.id, type=pb.CONTACT_METHOD_TYPE_OTHER)

    assert not response.contact_method.is_primary
    assert list(response.demoted_ids) == []
    assert await api.primary_id("client_1", pb.CONTACT_METHOD_TYPE_OTHER) == holder.id


async def test_a_change_of_type_with_the_flag_demotes_the_primary_of_the_new_type(api: Api) -> None:
    holder = await api.create(type=pb.CONTACT_METHOD_TYPE_OTHER, value="@juan", is_primary=True)
    present = await api.create(is_primary=True)

    response = await update(api, present.id, type=pb.CONTACT_METHOD_TYPE_OTHER, is_primary=True)

    assert list(response.demoted_ids) == [holder.id]
    assert await api.primary_id("client_1", pb.CONTACT_METHOD_TYPE_OTHER) == present.id


async def test_deleting_the_primary_leaves_none(api: Api) -> None:
    await api.create()
    present = await api.create(is_primary=True)

    response = await delete(api, present.id, pb.PRIMARY_DELETE_POLICY_UNSPECIFIED)

    assert not response.HasField("promoted_id")
    assert await api.primary_id("client_1") is None


async def test_promote_next_takes_the_oldest(api: Api) -> None:
    oldest = await api.create()
    await api.create()
    await api.create("client_2")
    present = await api.create(is_primary=True)

    response = await delete(api, present.id, pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT)

    assert response.promoted_id == oldest.id
    assert await api.primary_id("client_1") == oldest.id


async def test_promote_next_of_the_last_record_promotes_nobody(api: Api) -> None:
    present = await api.create(is_primary=True)

    response = await delete(api, present.id, pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT)

    assert not response.HasField("promoted_id")
    assert await api.total() == 0


async def test_promote_next_of_a_record_that_is_not_primary_promotes_nobody(api: Api) -> None:
    present = await api.create(is_primary=True)
    other = await api.create()

    response = await delete(api, other.id, pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT)

    assert not response.HasField("promoted_id")
    assert await api.primary_id("client_1") == present.id


async def test_reject_keeps_the_primary_and_deletes_others(api: Api) -> None:
    present = await api.create(is_primary=True)
    other = await api.create()

    failure = await failure_of(delete(api, present.id, pb.PRIMARY_DELETE_POLICY_REJECT))
    await delete(api, other.id, pb.PRIMARY_DELETE_POLICY_REJECT)

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PRIMARY_REJECTED")
    assert await api.total() == 1
    assert await api.primary_id("client_1") == present.id


async def test_allow_missing_makes_a_delete_repeatable(api: Api) -> None:
    record = await api.create()
    request = pb.DeleteContactMethodRequest(id=record.id, allow_missing=True)

    await api.stub.DeleteContactMethod(request)
    await api.stub.DeleteContactMethod(request)

    assert await api.total() == 0


@pytest.mark.parametrize("policy", [pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT, pb.PRIMARY_DELETE_POLICY_REJECT])
async def test_every_policy_reports_an_unknown_id(api: Api, policy: Any) -> None:
    failure = await failure_of(delete(api, "contact_xyz789", policy))

    assert failure.code is grpc.StatusCode.NOT_FOUND


async def test_200_promotions_of_50_records_leave_one_primary_and_never_none(embedded_api: Api) -> None:
    api = embedded_api
    records = [await api.create() for _ in range(50)]
    promoted_once = asyncio.Event()
    finished = asyncio.Event()

    async def promote(id_: str) -> grpc.StatusCode:
        try:
            await update(api, id_, is_primary=True)
        except grpc.aio.AioRpcError as error:
            return error.code()
        promoted_once.set()
        return grpc.StatusCode.OK

    async def watch() -> int:
        await promoted_once.wait()
        looks = 0
        while not finished.is_set():
            assert await api.primary_id("client_1") is not None
            looks += 1
        return looks

    watcher = asyncio.create_task(watch())
    codes = await asyncio.gather(*(promote(records[i % 50].id) for i in range(200)))
    finished.set()

    assert grpc.StatusCode.OK in codes
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
    assert await watcher > 0
    listed = await api.stub.ListContactMethods(
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=["client_1"], is_primary=True))
    )
    assert len(listed.contact_methods) == 1
