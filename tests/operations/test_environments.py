"""Nothing crosses between the environments, whatever is asked and whichever of them it is asked in."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of

EMAIL = pb.CONTACT_METHOD_TYPE_EMAIL
SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]


class World:
    """The service as seen from one environment."""

    def __init__(self, api: Api, environment: str) -> None:
        self._stub = api.stub
        self._headers = (("x-environment", environment),)

    async def __call__(self, rpc: str, request: Any) -> Any:
        call = getattr(self._stub, rpc)(request, metadata=self._headers)
        return [page async for page in call] if SERVICE.methods_by_name[rpc].server_streaming else await call

    async def everything(self) -> list[pb.ContactMethod]:
        listed = await self("ListContactMethods", pb.ListContactMethodsRequest(page_size=200))
        return list(listed.contact_methods)


def new(**fields: Any) -> pb.CreateContactMethodRequest:
    defaults: dict[str, Any] = {"client_id": "c", "type": EMAIL, "value": "a@example.com"}
    return pb.CreateContactMethodRequest(**{**defaults, **fields})


def probes(record: pb.ContactMethod, token: str) -> dict[str, tuple[Any, Any]]:
    """Return, for each RPC, a request that names what the other environment has, and what it must answer here.

    What it must answer is a message, the reason of an error, or None for whatever comes, as long as the other
    environment stays as it is.
    """
    id_, other = record.id, "contact_of_nobody"
    upsert = pb.UpsertContactMethodRequest(external_id="x", client_id="c", type=EMAIL, value="up@example.com")
    return {
        "CreateContactMethod": (new(external_id="x", is_primary=True), None),
        "GetContactMethod": (pb.GetContactMethodRequest(id=id_), "CONTACT_METHOD_NOT_FOUND"),
        "GetContactMethodByExternalId": (
            pb.GetContactMethodByExternalIdRequest(external_id="x"),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "GetContactMethodByMetadata": (
            pb.GetContactMethodByMetadataRequest(key="k", value="v"),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "ListContactMethods": (pb.ListContactMethodsRequest(page_token=token), "INVALID_PAGE_TOKEN"),
        "ListClientContactMethods": (
            pb.ListClientContactMethodsRequest(client_id="c"),
            pb.ListClientContactMethodsResponse(),
        ),
        "UpdateContactMethod": (pb.UpdateContactMethodRequest(id=id_, label="New"), "CONTACT_METHOD_NOT_FOUND"),
        "DeleteContactMethod": (pb.DeleteContactMethodRequest(id=id_), "CONTACT_METHOD_NOT_FOUND"),
        "GetPrimaryContactMethod": (
            pb.GetPrimaryContactMethodRequest(client_id="c", type=EMAIL),
            pb.GetPrimaryContactMethodResponse(),
        ),
        "BatchCreateContactMethods": (
            pb.BatchCreateContactMethodsRequest(requests=[new(external_id="x", is_primary=True)]),
            None,
        ),
        "BatchUpdateContactMethods": (
            pb.BatchUpdateContactMethodsRequest(requests=[pb.UpdateContactMethodRequest(id=id_, label="New")]),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "BatchDeleteContactMethods": (pb.BatchDeleteContactMethodsRequest(ids=[id_]), "CONTACT_METHOD_NOT_FOUND"),
        "BatchGetContactMethods": (
            pb.BatchGetContactMethodsRequest(ids=[id_, other]),
            pb.BatchGetContactMethodsResponse(missing_ids=[id_, other]),
        ),
        "UpsertContactMethod": (upsert, None),
        "BatchUpsertContactMethods": (pb.BatchUpsertContactMethodsRequest(requests=[upsert]), None),
        "SyncClientContactMethods": (
            pb.SyncClientContactMethodsRequest(
                client_id="c", items=[pb.SyncItem(id=id_, type=EMAIL, value="a@example.com")]
            ),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "StreamContactMethods": (pb.StreamContactMethodsRequest(page_token=token), "INVALID_PAGE_TOKEN"),
        "StartContactMethodVerification": (
            pb.StartContactMethodVerificationRequest(id=id_),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "CheckContactMethodVerification": (
            pb.CheckContactMethodVerificationRequest(id=id_, code="123456"),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "SetContactMethodVerification": (
            pb.SetContactMethodVerificationRequest(id=id_, verified=True),
            "CONTACT_METHOD_NOT_FOUND",
        ),
        "EraseClientContactMethods": (
            pb.EraseClientContactMethodsRequest(client_id="c"),
            pb.EraseClientContactMethodsResponse(),
        ),
    }


@pytest.mark.parametrize("here", ["live", "test"])
@pytest.mark.parametrize("rpc", [method.name for method in SERVICE.methods])
async def test_nothing_crosses(embedded_api: Api, rpc: str, here: str) -> None:
    ours, theirs = World(embedded_api, here), World(embedded_api, "test" if here == "live" else "live")
    record = (
        await theirs(
            "CreateContactMethod", new(external_id="x", is_primary=True, metadata={"k": "v"}, request_id="r-1")
        )
    ).contact_method
    for i in range(2):
        await theirs("CreateContactMethod", new(value=f"{i}@example.com"))
    token = (await theirs("ListContactMethods", pb.ListContactMethodsRequest(page_size=1))).next_page_token
    before = await theirs.everything()
    request, expected = probes(record, token)[rpc]
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        # The other environment has carried out a request of this id; here it is a new one.
        request.request_id = "r-1"

    if isinstance(expected, str):
        failure = await failure_of(ours(rpc, request))
        assert failure.reason == expected
        assert record.id not in f"{failure.message}{failure.metadata}"
    else:
        answer = await ours(rpc, request)
        assert expected in (None, answer)
        assert record.id not in str(answer) or rpc == "BatchGetContactMethods"

    assert await theirs.everything() == before


async def test_a_duplicate_key_names_only_records_of_its_environment(embedded_api: Api) -> None:
    live, test = World(embedded_api, "live"), World(embedded_api, "test")
    await live("CreateContactMethod", new(external_id="x"))
    holder = (await test("CreateContactMethod", new(external_id="x"))).contact_method

    failure = await failure_of(test("CreateContactMethod", new(external_id="x")))

    assert (failure.code, failure.metadata) == (grpc.StatusCode.ALREADY_EXISTS, {"existing_id": holder.id})
