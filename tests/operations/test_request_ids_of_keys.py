"""A request_id belongs to the key that sent it: two keys never meet in one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of
from tests.operations.guarded import NOW, Guarded, guarded

OTHER = pb.CONTACT_METHOD_TYPE_OTHER


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


def create(value: str = "v", **fields: Any) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(client_id="c", type=OTHER, value=value, **fields)


async def total(stub: Any) -> int:
    listed = await stub.ListContactMethods(pb.ListContactMethodsRequest(include_total_size=True))
    size: int = listed.total_size
    return size


async def test_the_same_create_by_two_keys_makes_two_records(server: Guarded) -> None:
    one, other = await server.stub_with(), await server.stub_with("read", "write")
    request = create(request_id="r")

    first = await one.CreateContactMethod(request)
    second = await other.CreateContactMethod(request)

    assert first.contact_method.id != second.contact_method.id
    assert await one.CreateContactMethod(request) == first
    assert await other.CreateContactMethod(request) == second
    assert await total(one) == 2


async def test_only_the_key_itself_can_reuse_a_request_id(server: Guarded) -> None:
    one, other = await server.stub_with(), await server.stub_with()
    await one.CreateContactMethod(create("a", request_id="r"))

    await other.CreateContactMethod(create("b", request_id="r"))
    failure = await failure_of(one.CreateContactMethod(create("b", request_id="r")))

    assert failure.reason == "REQUEST_ID_REUSED"


WRITES: dict[str, Callable[[str, str], Message]] = {
    "UpdateContactMethod": lambda id_, label: pb.UpdateContactMethodRequest(id=id_, label=label, request_id="r"),
    "UpsertContactMethod": lambda _, label: pb.UpsertContactMethodRequest(
        external_id="e", client_id="c", type=OTHER, value="v", label=label, request_id="r"
    ),
    "BatchCreateContactMethods": lambda _, label: pb.BatchCreateContactMethodsRequest(
        requests=[create(label), create(label)], request_id="r"
    ),
    "BatchUpdateContactMethods": lambda id_, label: pb.BatchUpdateContactMethodsRequest(
        requests=[pb.UpdateContactMethodRequest(id=id_, label=label)], request_id="r"
    ),
    "BatchUpsertContactMethods": lambda _, label: pb.BatchUpsertContactMethodsRequest(
        requests=[pb.UpsertContactMethodRequest(external_id="e", client_id="c", type=OTHER, value="v", label=label)],
        request_id="r",
    ),
    "SyncClientContactMethods": lambda _, label: pb.SyncClientContactMethodsRequest(
        client_id="c", items=[pb.SyncItem(type=OTHER, value="v", label=label)], request_id="r"
    ),
    "EraseClientContactMethods": lambda _, label: pb.EraseClientContactMethodsRequest(client_id=label, request_id="r"),
}


@pytest.mark.parametrize("rpc", WRITES)
async def test_request_ids_of_two_keys_do_not_meet_in_any_write(server: Guarded, rpc: str) -> None:
    one, other = await server.stub_with(), await server.stub_with()
    id_ = (await one.CreateContactMethod(create(external_id="e"))).contact_method.id

    first = await getattr(one, rpc)(WRITES[rpc](id_, "one"))
    await getattr(other, rpc)(WRITES[rpc](id_, "other"))
    again = await getattr(one, rpc)(WRITES[rpc](id_, "one"))
    failure = await failure_of(getattr(one, rpc)(WRITES[rpc](id_, "other")))

    # A replay: the same outcome, with records as they are now.
    assert type(again) is type(first)
    if rpc == "UpdateContactMethod":
        assert again.contact_method.label == "other"
    assert failure.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("rpc", ["DeleteContactMethod", "BatchDeleteContactMethods"])
async def test_the_delete_of_another_key_is_not_replayed(server: Guarded, rpc: str) -> None:
    one, other = await server.stub_with(), await server.stub_with()
    id_ = (await one.CreateContactMethod(create())).contact_method.id
    request: Message = (
        pb.DeleteContactMethodRequest(id=id_, request_id="r")
        if rpc == "DeleteContactMethod"
        else pb.BatchDeleteContactMethodsRequest(ids=[id_], request_id="r")
    )

    first = await getattr(one, rpc)(request)

    assert await getattr(one, rpc)(request) == first
    assert (await failure_of(getattr(other, rpc)(request))).reason == "CONTACT_METHOD_NOT_FOUND"


async def test_requests_from_before_the_first_key_belong_to_no_key(server: Guarded) -> None:
    request = create(request_id="r")
    before = await server.api.stub.CreateContactMethod(request)
    assert await server.api.stub.CreateContactMethod(request) == before

    keyed = await (await server.stub_with()).CreateContactMethod(request)

    assert keyed.contact_method.id != before.contact_method.id


async def test_a_caller_without_a_key_cannot_name_the_request_of_a_key(server: Guarded) -> None:
    key_id = "0" * 12
    for separator in map(chr, (0x00, 0x1E, 0x1F, 0x7F)):
        request = create(request_id=f"{key_id}{separator}r")

        failure = await failure_of(server.api.stub.CreateContactMethod(request))

        assert (failure.reason, failure.fields) == ("INVALID_FIELD", ["request_id"])


async def test_the_longest_request_id_is_accepted_from_a_key(server: Guarded) -> None:
    stub = await server.stub_with()
    request = create(request_id="😀" * 255)

    assert await stub.CreateContactMethod(request) == await stub.CreateContactMethod(request)
    assert (await failure_of(stub.CreateContactMethod(create(request_id="r" * 256)))).fields == ["request_id"]


async def test_a_replay_after_an_erasure_restores_nothing_and_another_key_creates_anew(server: Guarded) -> None:
    one, other = await server.stub_with(), await server.stub_with()
    request = create(request_id="r")
    await one.CreateContactMethod(request)
    await one.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="c"))

    assert (await failure_of(one.CreateContactMethod(request))).reason == "CONTACT_METHOD_NOT_FOUND"
    assert (await other.CreateContactMethod(request)).contact_method.value == "v"


async def test_a_rotated_key_keeps_its_request_ids(server: Guarded) -> None:
    text = server.keys.make()
    stub = await server.stub_of(text)
    request = create(request_id="r")
    made = await stub.CreateContactMethod(request)

    key, new_text = server.keys.keys[text.split("_")[2]].rotated(NOW, timedelta(0))
    server.keys.keys[key.id] = key
    rotated = await server.stub_of(new_text)

    assert await rotated.CreateContactMethod(request) == made
