from __future__ import annotations

import re

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of


async def test_a_created_record_comes_back_as_it_was_sent(api: Api) -> None:
    sent = pb.CreateContactMethodRequest(
        client_id="client_abc123",
        type=pb.CONTACT_METHOD_TYPE_EMAIL,
        value="  Juan@Example.com ",
        label="Personal",
        is_primary=True,
        external_id="crm-7",
        metadata={"source": "crm", "tier": "a=b"},
    )

    created = (await api.stub.CreateContactMethod(sent)).contact_method

    assert re.fullmatch(r"contact_[0-9a-hjkmnp-tv-z]{26}", created.id)
    assert (created.client_id, created.type) == ("client_abc123", pb.CONTACT_METHOD_TYPE_EMAIL)
    assert (created.value, created.normalized_value) == ("Juan@Example.com", "juan@example.com")
    assert (created.label, created.external_id, created.is_primary) == ("Personal", "crm-7", True)
    assert dict(created.metadata) == {"source": "crm", "tier": "a=b"}
    assert not created.is_verified
    assert not created.HasField("verified_at")
    assert created.created_at == created.updated_at
    assert created.created_at.nanos % 1_000_000 == 0
    assert created.etag
    assert await api.get(created.id) == created


async def test_absent_label_and_external_id_stay_absent(api: Api) -> None:
    created = await api.create()

    assert not created.HasField("label")
    assert not created.HasField("external_id")
    assert not created.is_primary


async def test_ids_of_one_process_sort_by_creation(api: Api) -> None:
    made = [(await api.create()).id for _ in range(20)]

    assert made == sorted(made)


async def test_unknown_names_are_not_found(api: Api) -> None:
    for call in (
        api.stub.GetContactMethod(pb.GetContactMethodRequest(id="contact_xyz789")),
        api.stub.GetContactMethodByExternalId(pb.GetContactMethodByExternalIdRequest(external_id="nobody")),
        api.stub.GetContactMethodByMetadata(pb.GetContactMethodByMetadataRequest(key="k", value="v")),
        api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id="contact_xyz789", label="x")),
        api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id="contact_xyz789")),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CONTACT_METHOD_NOT_FOUND")


async def test_an_external_id_finds_its_record(api: Api) -> None:
    created = await api.create(external_id="crm-7")

    found = await api.stub.GetContactMethodByExternalId(pb.GetContactMethodByExternalIdRequest(external_id="crm-7"))

    assert found.contact_method == created


@pytest.mark.parametrize("is_primary", [False, True])
async def test_a_taken_external_id_names_its_holder(api: Api, is_primary: bool) -> None:
    await api.create(is_primary=True)
    before = await api.primary_id("client_1")
    holder = await api.create(external_id="crm-7")
    request = pb.CreateContactMethodRequest(
        client_id="client_1",
        type=pb.CONTACT_METHOD_TYPE_EMAIL,
        value="secret@example.com",
        external_id="crm-7",
        is_primary=is_primary,
    )

    failure = await failure_of(api.stub.CreateContactMethod(request))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert failure.metadata == {"existing_id": holder.id}
    assert "secret" not in failure.message
    assert await api.primary_id("client_1") == before


async def test_metadata_pairs_find_the_one_record_that_has_them(api: Api) -> None:
    here = await api.create("client_1", metadata={"crm": "42", "x": "1"})
    await api.create("client_2", metadata={"crm": "43", "x": "42"})

    async def found(**request: str) -> pb.ContactMethod:
        response: pb.GetContactMethodByMetadataResponse = await api.stub.GetContactMethodByMetadata(
            pb.GetContactMethodByMetadataRequest(**request)
        )
        return response.contact_method

    assert await found(key="crm", value="42") == here
    assert await found(key="crm", value="42", client_id="client_1") == here


async def test_a_metadata_pair_of_several_records_is_ambiguous_unless_the_client_tells_them_apart(api: Api) -> None:
    first = await api.create("client_1", metadata={"crm": "42"})
    await api.create("client_2", metadata={"crm": "42"})

    failure = await failure_of(
        api.stub.GetContactMethodByMetadata(pb.GetContactMethodByMetadataRequest(key="crm", value="42"))
    )
    named = await api.stub.GetContactMethodByMetadata(
        pb.GetContactMethodByMetadataRequest(key="crm", value="42", client_id="client_1")
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "METADATA_AMBIGUOUS")
    assert named.contact_method.id == first.id


async def test_environments_see_nothing_of_each_other(api: Api) -> None:
    live = await api.create(external_id="crm-7", is_primary=True)
    in_test = {"metadata": (("x-environment", "test"),)}

    hidden = await failure_of(api.stub.GetContactMethod(pb.GetContactMethodRequest(id=live.id), **in_test))
    same = pb.CreateContactMethodRequest(
        client_id="client_1", type=live.type, value=live.value, external_id="crm-7", is_primary=True
    )
    twin = await api.stub.CreateContactMethod(same, **in_test)

    assert hidden.code is grpc.StatusCode.NOT_FOUND
    assert list(twin.demoted_ids) == []
    assert await api.primary_id("client_1") == live.id


async def test_an_unknown_environment_is_refused(api: Api) -> None:
    failure = await failure_of(
        api.stub.GetContactMethod(pb.GetContactMethodRequest(id="x"), metadata=(("x-environment", "staging"),))
    )

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["x-environment"])
