from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api

SERVICE_NAME = "ContactMethodsService"
SERVICE = f"contactsvc.v1.{SERVICE_NAME}"
TYPE = "CONTACT_METHOD_TYPE_EMAIL"


async def grpcurl(*arguments: str) -> tuple[int, str]:
    # From the environment of the tests, which need not be on the PATH.
    command = shutil.which("grpcurl", path=str(Path(sys.executable).parent)) or shutil.which("grpcurl")
    assert command is not None
    process = await asyncio.create_subprocess_exec(
        command, "-plaintext", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def call(api: Api, rpc: str, request: dict[str, Any]) -> Any:
    code, out = await grpcurl("-d", json.dumps(request), api.target, f"{SERVICE}/{rpc}")
    assert code == 0, out
    return json.loads(out)


async def test_reflection_lists_the_services(embedded_api: Api) -> None:
    code, out = await grpcurl(embedded_api.target, "list")

    assert code == 0
    assert {SERVICE, "grpc.health.v1.Health"} <= set(out.split())


async def test_reflection_describes_everything_with_its_comments(embedded_api: Api) -> None:
    _, service = await grpcurl(embedded_api.target, "describe", SERVICE)
    _, method = await grpcurl(embedded_api.target, "describe", f"{SERVICE}.GetPrimaryContactMethod")
    _, message = await grpcurl(embedded_api.target, "describe", "contactsvc.v1.ContactMethod")

    assert "rpc CreateContactMethod" in service
    assert "EXTERNAL_ID_TAKEN: another record has the external id" in service
    assert "contact_method unset, when there is" in method
    assert "The address or number as sent, trimmed." in message


async def test_every_rpc_can_be_described(embedded_api: Api) -> None:
    for method in pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods:
        code, out = await grpcurl(embedded_api.target, "describe", f"{SERVICE}.{method.name}")
        assert code == 0, out


async def test_calls_speak_the_names_of_the_sdk(embedded_api: Api) -> None:
    request = {"clientId": "c1", "type": "CONTACT_METHOD_TYPE_EMAIL", "value": "Juan@Example.com", "isPrimary": True}

    created = (await call(embedded_api, "CreateContactMethod", request))["contactMethod"]
    found = await call(embedded_api, "GetPrimaryContactMethod", {"clientId": "c1", "type": request["type"]})

    assert found["contactMethod"] == created
    assert created["normalizedValue"] == "juan@example.com"


# A request of every RPC, in the names of JSON; `ID` stands for a record that is there.
REQUESTS: dict[str, dict[str, Any]] = {
    "CreateContactMethod": {"clientId": "c", "type": TYPE, "value": "a@example.com", "requestId": "r-1"},
    "GetContactMethod": {"id": "ID"},
    "GetContactMethodByExternalId": {"externalId": "x"},
    "GetContactMethodByMetadata": {"key": "k", "value": "v"},
    "ListContactMethods": {"filter": {"types": [TYPE]}, "sort": [{"field": "CONTACT_METHOD_SORT_FIELD_CREATED_AT"}]},
    "ListClientContactMethods": {"clientId": "c1", "pageSize": 5},
    "UpdateContactMethod": {"id": "ID", "isPrimary": True, "metadata": {"k": "v"}},
    "DeleteContactMethod": {"id": "ID", "onPrimary": "PRIMARY_DELETE_POLICY_PROMOTE_NEXT"},
    "GetPrimaryContactMethod": {"clientId": "c1", "type": TYPE},
    "BatchCreateContactMethods": {"requests": [{"clientId": "c", "type": TYPE, "value": "a@example.com"}]},
    "BatchUpdateContactMethods": {"requests": [{"id": "ID", "label": "New"}]},
    "BatchDeleteContactMethods": {"ids": ["ID"]},
    "BatchGetContactMethods": {"ids": ["ID"]},
    "UpsertContactMethod": {"externalId": "x", "clientId": "c1", "type": TYPE, "value": "b@example.com"},
    "BatchUpsertContactMethods": {
        "requests": [{"externalId": "y", "clientId": "c1", "type": TYPE, "value": "b@example.com"}], "partial": True
    },
    "SyncClientContactMethods": {"clientId": "c1", "items": [{"id": "ID", "delete": True}], "replace": True},
    "StreamContactMethods": {},
    "EraseClientContactMethods": {"clientId": "c1"},
    "StartContactMethodVerification": {"id": "ID"},
    "CheckContactMethodVerification": {"id": "ID", "code": "123456"},
    "SetContactMethodVerification": {"id": "ID", "verified": True, "method": "signed letter"},
}  # fmt: skip


@pytest.mark.parametrize("rpc", [method.name for method in pb.DESCRIPTOR.services_by_name[SERVICE_NAME].methods])
async def test_every_rpc_answers(embedded_api: Api, rpc: str) -> None:
    record = await embedded_api.create("c1", external_id="x", metadata={"k": "v"}, is_primary=True)
    await embedded_api.create("c1")
    await embedded_api.stub.StartContactMethodVerification(pb.StartContactMethodVerificationRequest(id=record.id))
    request = json.loads(json.dumps(REQUESTS[rpc]).replace('"ID"', f'"{record.id}"'))

    answer = await call(embedded_api, rpc, request)

    # Each of these requests has something to tell: an empty message would mean that it came to nothing.
    assert answer


async def test_health_is_serving(embedded_api: Api) -> None:
    for service in ("", SERVICE):
        code, out = await grpcurl(
            "-d", json.dumps({"service": service}), embedded_api.target, "grpc.health.v1.Health/Check"
        )
        assert code == 0
        assert json.loads(out) == {"status": "SERVING"}
