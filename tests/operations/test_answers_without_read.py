"""What callers without `read` see of records that they did not make or name: nothing, not even ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from contactsvc_client import AsyncContactsClient, ForbiddenError

from contactsvc.domain.api_keys import Permission
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of
from tests.operations.guarded import Guarded, guarded

OTHER = pb.CONTACT_METHOD_TYPE_OTHER


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


def create(value: str = "v", **fields: Any) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(client_id="c", type=OTHER, value=value, **fields)


async def test_a_create_of_a_primary_needs_read(server: Guarded) -> None:
    owner, writer = await server.stub_with(), await server.stub_with("write")
    await owner.CreateContactMethod(create("first", is_primary=True))

    failure = await failure_of(writer.CreateContactMethod(create("second", is_primary=True)))
    made = await owner.CreateContactMethod(create("third", is_primary=True))

    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert failure.message == "the API key lacks permission: read, which a create with is_primary requires"
    assert len(made.demoted_ids) == 1
    listed = await owner.ListContactMethods(pb.ListContactMethodsRequest())
    assert [found.value for found in listed.contact_methods] == ["first", "third"]


@pytest.mark.parametrize("partial", [False, True])
async def test_a_batch_with_a_primary_needs_read_and_is_refused_before_anything_is_done(
    server: Guarded, partial: bool
) -> None:
    owner, writer = await server.stub_with(), await server.stub_with("write")
    # The permission is checked before the fields are.
    requests = [create("plain"), create("primary", is_primary=True), pb.CreateContactMethodRequest()]

    failure = await failure_of(
        writer.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests, partial=partial))
    )

    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    listed = await owner.ListContactMethods(pb.ListContactMethodsRequest())
    assert not listed.contact_methods


async def test_a_key_that_may_read_and_write_creates_primaries(server: Guarded) -> None:
    stub = await server.stub_with("read", "write")

    first = await stub.CreateContactMethod(create("first", is_primary=True))
    second = await stub.CreateContactMethod(create("second", is_primary=True))

    assert list(second.demoted_ids) == [first.contact_method.id]


async def test_the_holder_of_an_external_id_is_named_to_readers_only(server: Guarded) -> None:
    owner, writer = await server.stub_with("read", "write"), await server.stub_with("write")
    holder = (await owner.CreateContactMethod(create(external_id="e"))).contact_method
    taken = create("another", external_id="e")
    atomic = pb.BatchCreateContactMethodsRequest(requests=[create("fine"), taken])

    for request, rpc in ((taken, "CreateContactMethod"), (atomic, "BatchCreateContactMethods")):
        read, blind = await failure_of(getattr(owner, rpc)(request)), await failure_of(getattr(writer, rpc)(request))

        assert (read.reason, read.metadata) == ("EXTERNAL_ID_TAKEN", {"existing_id": holder.id})
        assert (blind.reason, blind.metadata) == ("EXTERNAL_ID_TAKEN", {})
        assert (blind.code, blind.message, blind.fields) == (read.code, read.message, read.fields)
        assert holder.id not in blind.message


async def test_an_item_of_a_partial_batch_names_the_holder_to_readers_only(server: Guarded) -> None:
    owner, writer = await server.stub_with("read", "write"), await server.stub_with("write")
    holder = (await owner.CreateContactMethod(create(external_id="e"))).contact_method
    items = [create("fine"), create("another", external_id="e")]
    partial = pb.BatchCreateContactMethodsRequest(requests=items, partial=True, request_id="r")

    read = (await owner.BatchCreateContactMethods(partial)).results
    blind = (await writer.BatchCreateContactMethods(partial)).results
    again = (await writer.BatchCreateContactMethods(partial)).results

    assert read[1].error.metadata == {"existing_id": holder.id}
    assert blind == again
    assert blind[0].contact_method == pb.ContactMethod(id=blind[0].contact_method.id)
    assert blind[0].contact_method.id.startswith("contact_")
    assert (blind[1].error.reason, dict(blind[1].error.metadata)) == ("EXTERNAL_ID_TAKEN", {})
    assert [violation.field for violation in blind[1].error.field_violations] == ["requests[1].external_id"]


async def test_a_replay_shows_no_field_of_the_record(server: Guarded) -> None:
    writer, owner = await server.stub_with("write"), await server.stub_with()
    request = create("secret", label="label", metadata={"k": "v"}, request_id="r")

    made = await writer.CreateContactMethod(request)
    await owner.UpdateContactMethod(pb.UpdateContactMethodRequest(id=made.contact_method.id, label="another"))
    again = await writer.CreateContactMethod(request)

    assert made == again
    assert made.contact_method == pb.ContactMethod(id=made.contact_method.id)


async def test_a_replay_shows_what_the_key_may_read_by_then(server: Guarded) -> None:
    text = server.keys.make(permissions=frozenset({Permission.READ, Permission.WRITE}))
    stub = await server.stub_of(text)
    plain, primary = create("plain", request_id="1"), create("primary", is_primary=True, request_id="2")
    made = await stub.CreateContactMethod(plain)
    await stub.CreateContactMethod(primary)
    server.keys.change(text, permissions=frozenset({Permission.WRITE}))
    await server.gate.refresh()

    again = await stub.CreateContactMethod(plain)
    failure = await failure_of(stub.CreateContactMethod(primary))

    assert made.contact_method.value == "plain"
    assert again.contact_method == pb.ContactMethod(id=made.contact_method.id)
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_delete_names_the_promoted_record_to_readers_only(server: Guarded) -> None:
    owner = await server.stub_with()
    deleting, reading = await server.stub_with("delete"), await server.stub_with("delete", "read")
    records = [
        (await owner.CreateContactMethod(create(value, is_primary=value == "a"))).contact_method for value in "abc"
    ]
    requests = [
        pb.DeleteContactMethodRequest(
            id=record.id, on_primary=pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT, request_id=record.id
        )
        for record in records
    ]

    blind = await deleting.DeleteContactMethod(requests[0])
    replayed = await deleting.DeleteContactMethod(requests[0])
    slot = pb.GetPrimaryContactMethodRequest(client_id="c", type=OTHER)
    primary = (await owner.GetPrimaryContactMethod(slot)).contact_method
    read = await reading.DeleteContactMethod(requests[1])

    assert blind == replayed == pb.DeleteContactMethodResponse()
    assert primary.id == records[1].id
    assert read.promoted_id == records[2].id


async def test_the_python_client_creates_with_a_key_that_may_only_write(server: Guarded) -> None:
    writer, owner = await server.stub_with("write"), await server.stub_with()
    async with AsyncContactsClient(server.api.target, api_key=writer.text) as sdk:
        made = await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        with pytest.raises(ForbiddenError):
            await sdk.contact_methods.create(client_id="c", type="email", value="b@example.com", is_primary=True)

    found = await owner.GetContactMethod(pb.GetContactMethodRequest(id=made.id))
    assert (found.contact_method.value, made.value) == ("a@example.com", "")
