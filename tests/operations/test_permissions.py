"""The permission matrix: every RPC with no permission, with each single one, with those that it requires, and with all.

A key without permissions cannot be created by the command line, but may be stored by a newer release.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.domain.api_keys import PERMISSIONS, Permission
from contactsvc.rpc.visibility import SHOWN_WITHOUT_READ
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_in
from tests.operations.guarded import EVERYTHING, SERVICE, Guarded, guarded

NUMBERS = itertools.count()


@dataclass(frozen=True)
class Row:
    """What an RPC requires, what an answer shows without `read`, and a field that it shows to those who may read.

    Attributes:
        required: the permissions, all of which are needed.
        shown: the paths of all fields of the answer without `read`; None if the RPC requires it.
        with_read: the path of a field of the answer with `read`.
        request: makes a request for a record of client `c`.
    """

    required: str
    shown: set[str] | None
    with_read: str
    request: Callable[[pb.ContactMethod], Message]


def new_record(**fields: Any) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(
        client_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"v{next(NUMBERS)}", **fields
    )


def upsert(record: pb.ContactMethod) -> pb.UpsertContactMethodRequest:
    return pb.UpsertContactMethodRequest(
        external_id=record.external_id, client_id="c", type=record.type, value=record.value, label="new"
    )


MATRIX = {
    "CreateContactMethod": Row(
        "write", {"contact_method.id"}, "contact_method.value", lambda _: new_record(label="label", metadata={"k": "v"})
    ),
    "BatchCreateContactMethods": Row(
        "write",
        {"results.contact_method.id"},
        "results.contact_method.value",
        lambda _: pb.BatchCreateContactMethodsRequest(requests=[new_record(), new_record()]),
    ),
    "DeleteContactMethod": Row(
        "delete",
        set(),
        "promoted_id",
        lambda record: pb.DeleteContactMethodRequest(
            id=record.id, on_primary=pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT, allow_missing=True
        ),
    ),
    "BatchDeleteContactMethods": Row(
        "delete",
        {"results.deleted_id"},
        "results.deleted_id",
        lambda record: pb.BatchDeleteContactMethodsRequest(ids=[record.id]),
    ),
    "EraseClientContactMethods": Row(
        "erase", {"erased_count"}, "erased_count", lambda _: pb.EraseClientContactMethodsRequest(client_id="c")
    ),
    "GetContactMethod": Row(
        "read", None, "contact_method.value", lambda record: pb.GetContactMethodRequest(id=record.id)
    ),
    "GetContactMethodByExternalId": Row(
        "read",
        None,
        "contact_method.value",
        lambda record: pb.GetContactMethodByExternalIdRequest(external_id=record.external_id),
    ),
    "GetContactMethodByMetadata": Row(
        "read",
        None,
        "contact_method.value",
        lambda record: pb.GetContactMethodByMetadataRequest(key="own", value=record.value),
    ),
    "ListContactMethods": Row("read", None, "contact_methods.value", lambda _: pb.ListContactMethodsRequest()),
    "ListClientContactMethods": Row(
        "read", None, "contact_methods.value", lambda _: pb.ListClientContactMethodsRequest(client_id="c")
    ),
    "GetPrimaryContactMethod": Row(
        "read",
        None,
        "contact_method.value",
        lambda record: pb.GetPrimaryContactMethodRequest(client_id="c", type=record.type),
    ),
    "BatchGetContactMethods": Row(
        "read", None, "contact_methods.value", lambda record: pb.BatchGetContactMethodsRequest(ids=[record.id])
    ),
    "StreamContactMethods": Row("read", None, "contact_methods.value", lambda _: pb.StreamContactMethodsRequest()),
    "UpdateContactMethod": Row(
        "read write",
        None,
        "contact_method.value",
        lambda record: pb.UpdateContactMethodRequest(id=record.id, label="new"),
    ),
    "BatchUpdateContactMethods": Row(
        "read write",
        None,
        "results.contact_method.value",
        lambda record: pb.BatchUpdateContactMethodsRequest(
            requests=[pb.UpdateContactMethodRequest(id=record.id, label="new")]
        ),
    ),
    "UpsertContactMethod": Row("read write", None, "contact_method.value", upsert),
    "BatchUpsertContactMethods": Row(
        "read write",
        None,
        "results.contact_method.value",
        lambda record: pb.BatchUpsertContactMethodsRequest(requests=[upsert(record)]),
    ),
    "StartContactMethodVerification": Row(
        "verify",
        {"code", "value", "type", "expires_at", "attempts_left", "sends_left"},
        "contact_method.value",
        lambda record: pb.StartContactMethodVerificationRequest(id=record.id),
    ),
    "CheckContactMethodVerification": Row(
        "verify",
        {"result", "attempts_left", "contact_method.id"},
        "contact_method.value",
        lambda record: pb.CheckContactMethodVerificationRequest(id=record.id, code="000000"),
    ),
    "SetContactMethodVerification": Row(
        "attest",
        {"contact_method.id"},
        "contact_method.value",
        lambda record: pb.SetContactMethodVerificationRequest(id=record.id, verified=True),
    ),
    "SyncClientContactMethods": Row(
        "read write delete",
        None,
        "unchanged.value",
        lambda record: pb.SyncClientContactMethodsRequest(
            client_id="c", items=[pb.SyncItem(type=record.type, value=record.value)]
        ),
    ),
}


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


def paths(message: Message, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the fields that are set, down to the values."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        parts = [value] if isinstance(value, Message) else value if field.message_type is not None else []
        if (
            not parts
            or isinstance(value, Timestamp)
            or (field.message_type and field.message_type.GetOptions().map_entry)
        ):
            yield path
            continue
        for part in parts:
            yield from paths(part, f"{path}.")


async def answer_to(stub: Any, rpc: str, request: Message) -> Message:
    call = getattr(stub, rpc)(request)
    if not SERVICE.methods_by_name[rpc].server_streaming:
        return await call  # type: ignore[no-any-return]
    (page,) = [page async for page in call]
    return page  # type: ignore[no-any-return]


def test_the_matrix_has_every_rpc() -> None:
    assert set(MATRIX) == set(SERVICE.methods_by_name)


@pytest.mark.parametrize("rpc", MATRIX)
async def test_an_rpc_requires_its_permissions_and_shows_without_read_what_it_made_or_named(
    server: Guarded, rpc: str
) -> None:
    row = MATRIX[rpc]
    required = {Permission(name) for name in row.required.split()}
    owner = await server.stub_with()
    sets = [frozenset[Permission](), *({one} for one in Permission), required, EVERYTHING, EVERYTHING - {"read"}]
    for permissions in map(frozenset, sets):
        await owner.CreateContactMethod(new_record())
        request = new_record(is_primary=True, external_id=f"e{next(NUMBERS)}")
        request.metadata["own"] = request.value
        record = (await owner.CreateContactMethod(request)).contact_method
        await owner.StartContactMethodVerification(pb.StartContactMethodVerificationRequest(id=record.id))
        stub = await server.stub_of(server.keys.make(permissions=permissions))

        missing = required - permissions
        try:
            answer = await answer_to(stub, rpc, row.request(record))
        except grpc.aio.AioRpcError as error:
            failure = failure_in(error)
            assert missing, failure
            assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert failure.message.endswith(f"lacks permission: {', '.join(sorted(missing))}")
            assert failure.metadata == {}
            continue
        assert not missing
        shown = set(paths(answer))
        if "read" in permissions:
            assert row.with_read in shown
        else:
            assert shown == row.shown


def test_every_answer_without_read_has_a_row_and_its_fields_exist() -> None:
    without_read = {
        method.output_type.name for method in SERVICE.methods if Permission.READ not in PERMISSIONS[method.name]
    }

    assert without_read <= SHOWN_WITHOUT_READ.keys()
    for name, fields in SHOWN_WITHOUT_READ.items():
        assert fields <= set(pb.DESCRIPTOR.message_types_by_name[name].fields_by_name), name
