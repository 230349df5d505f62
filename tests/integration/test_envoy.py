"""Envoy in front of the service: gRPC, gRPC-Web and JSON, as deploy/envoy configures them."""

from __future__ import annotations

import base64
import json
import re
import stat
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest
import yaml
from google.rpc import error_details_pb2, status_pb2

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import OpenStores, failure_of, serving
from tests.integration.envoy_process import FOLDER, Envoy, framed, grpc_web_answer, needs_envoy, running_envoy

pytestmark = needs_envoy

SERVICE = "/contactsvc.v1.ContactMethodsService"
EMAIL = "CONTACT_METHOD_TYPE_EMAIL"
ORIGIN = "http://localhost:5173"
GRPC_WEB = {"content-type": "application/grpc-web+proto", "accept": "application/grpc-web+proto", "x-grpc-web": "1"}


@pytest.fixture(scope="module")
async def envoy(on_embedded: OpenStores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Envoy]:
    """Run Envoy in front of a service, for all tests of this file; each has clients of its own."""
    async with (
        serving(await on_embedded()) as api,
        running_envoy(api.target, tmp_path_factory.mktemp("envoy")) as running,
    ):
        yield running


async def create(envoy: Envoy, client_id: str, value: str = "a@example.com", **fields: Any) -> Any:
    """Create an email as JSON."""
    request = {"clientId": client_id, "type": EMAIL, "value": value, **fields}
    answer = await envoy.call("POST", "/v1/contact-methods", request)
    assert answer.status == 200, answer
    return answer.json["contactMethod"]


async def test_a_grpc_call_passes(envoy: Envoy) -> None:
    async with grpc.aio.insecure_channel(envoy.address) as channel:
        stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
        request = pb.CreateContactMethodRequest(
            client_id="grpc", type=pb.CONTACT_METHOD_TYPE_EMAIL, value="a@example.com", external_id="grpc-1"
        )

        created = await stub.CreateContactMethod(request)
        refused = await failure_of(stub.CreateContactMethod(request))

    assert created.contact_method.normalized_value == "a@example.com"
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert refused.metadata["existing_id"] == created.contact_method.id


async def test_a_grpc_web_call_answers_with_its_status_behind_the_message(envoy: Envoy) -> None:
    request = pb.CreateContactMethodRequest(client_id="web", type=pb.CONTACT_METHOD_TYPE_EMAIL, value="a@example.com")

    answer = await envoy.call(
        "POST", f"{SERVICE}/CreateContactMethod", framed(request.SerializeToString()), {**GRPC_WEB, "origin": ORIGIN}
    )

    (message,), trailers = grpc_web_answer(answer.body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/grpc-web+proto"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert trailers["grpc-status"] == "0"
    assert pb.CreateContactMethodResponse.FromString(message).contact_method.client_id == "web"


async def test_a_grpc_web_error_has_its_reason(envoy: Envoy) -> None:
    request = pb.GetContactMethodRequest(id="contact_missing").SerializeToString()

    answer = await envoy.call("POST", f"{SERVICE}/GetContactMethod", framed(request), GRPC_WEB)

    # Without a message, the trailers of gRPC are headers of the response.
    trailers = {**answer.headers, **grpc_web_answer(answer.body)[1]}
    details = trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    info = error_details_pb2.ErrorInfo()
    assert trailers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.reason == "CONTACT_METHOD_NOT_FOUND"


async def test_a_record_in_json_has_all_fields(envoy: Envoy) -> None:
    record = await create(envoy, "json", metadata={"k": "v"})

    found = await envoy.call("GET", f"/v1/contact-methods/{record['id']}")

    assert found.headers["content-type"] == "application/json"
    assert found.json == {"contactMethod": record}
    assert record["type"] == EMAIL
    assert record["isPrimary"] is False
    assert record["metadata"] == {"k": "v"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", record["createdAt"])


async def test_a_json_error_has_its_reason_and_its_fields(envoy: Envoy) -> None:
    request = {"clientId": "", "type": "CONTACT_METHOD_TYPE_PHONE", "value": "12"}

    answer = await envoy.call("POST", "/v1/contact-methods", request)

    info, bad_request = answer.json["details"]
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert (info["reason"], info["domain"]) == ("INVALID_FIELD", "contactsvc")
    assert [violation["field"] for violation in bad_request["fieldViolations"]] == ["client_id", "value"]


async def test_the_http_status_of_an_error_is_that_of_its_code(envoy: Envoy) -> None:
    await create(envoy, "codes", externalId="codes-1")

    missing = await envoy.call("GET", "/v1/contact-methods/contact_missing")
    request = {"clientId": "codes", "type": EMAIL, "value": "a@example.com", "externalId": "codes-1"}
    taken = await envoy.call("POST", "/v1/contact-methods", request)

    assert (missing.status, missing.json["details"][0]["reason"]) == (404, "CONTACT_METHOD_NOT_FOUND")
    assert (taken.status, taken.json["details"][0]["reason"]) == (409, "EXTERNAL_ID_TAKEN")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/contact_methods", None, 404),
        ("POST", "/grpc.health.v1.Health/Check", {}, 404),
        ("DELETE", "/v1/contact-methods/contact_1?allow_misssing=true", None, 400),
        ("POST", "/v1/contact-methods:list", b"{", 400),
        ("GET", "/v1/clients/c1/primary/EMIAL", None, 400),
    ],
)
async def test_a_misspelt_call_is_refused(envoy: Envoy, method: str, path: str, body: Any, status: int) -> None:
    answer = await envoy.call(method, path, body)

    assert answer.status == status, answer


async def test_unknown_fields_of_a_body_are_ignored(envoy: Envoy) -> None:
    # Envoy has no setting against it; docs/browsers.md warns of it.
    await create(envoy, "ignored")

    answer = await envoy.call("POST", "/v1/contact-methods:list", {"filters": {"clientIds": ["nobody"]}})

    assert len(answer.json["contactMethods"]) > 0


async def test_large_requests_and_answers_pass_up_to_the_limit_of_the_service(envoy: Envoy) -> None:
    metadata = {f"{number:040}": "x" * 500 for number in range(40)}
    item = {"clientId": "large", "type": "CONTACT_METHOD_TYPE_OTHER", "value": "large", "metadata": metadata}

    created = await envoy.call("POST", "/v1/contact-methods:batchCreate", {"requests": [item] * 100})
    refused = await envoy.call("POST", "/v1/contact-methods:batchCreate", {"requests": [item] * 200})

    assert [result["contactMethod"]["metadata"] for result in created.json["results"]] == [metadata] * 100
    # Envoy's limit is one of memory: it refuses what it cannot pass on in pieces.
    assert refused.status in {413, 429}


async def test_ids_in_paths_may_have_any_character(envoy: Envoy) -> None:
    client_id = "a/b:c?ü #%"
    record = await create(envoy, client_id)

    listed = await envoy.call("GET", f"/v1/clients/{quote(client_id, safe='')}/contact-methods?pageSize=5")

    assert [one["id"] for one in listed.json["contactMethods"]] == [record["id"]]


async def test_a_stream_is_one_json_object_per_line(envoy: Envoy) -> None:
    records = [await create(envoy, "stream", f"{number}@example.com") for number in range(3)]

    answer = await envoy.call("POST", "/v1/contact-methods:stream", {"filter": {"clientIds": ["stream"]}})

    pages = [json.loads(line) for line in answer.body.splitlines()]
    assert [record["id"] for page in pages for record in page["contactMethods"]] == [record["id"] for record in records]


async def test_the_environment_is_that_of_the_header(envoy: Envoy) -> None:
    record = await create(envoy, "environments")

    elsewhere = await envoy.call("GET", f"/v1/contact-methods/{record['id']}", headers={"x-environment": "test"})

    assert elsewhere.status == 404


async def test_every_rpc_can_be_called_in_json(envoy: Envoy) -> None:
    record = await create(envoy, "all", isPrimary=True, externalId="all-1", metadata={"all": "1"})
    other = await create(envoy, "all", "b@example.com")
    a, b = f"/v1/contact-methods/{record['id']}", f"/v1/contact-methods/{other['id']}"
    batch = "/v1/contact-methods:batch"
    fields = {"clientId": "all", "type": EMAIL, "value": "c@example.com"}
    calls: dict[str, tuple[str, str, Any]] = {
        "CreateContactMethod": ("POST", "/v1/contact-methods", fields),
        "GetContactMethod": ("GET", a, None),
        "GetContactMethodByExternalId": ("POST", "/v1/contact-methods:getByExternalId", {"externalId": "all-1"}),
        "GetContactMethodByMetadata": ("POST", "/v1/contact-methods:getByMetadata", {"key": "all", "value": "1"}),
        "ListContactMethods": ("POST", "/v1/contact-methods:list", {"filter": {"clientIds": ["all"]}, "pageSize": 1}),
        "ListClientContactMethods": ("GET", f"/v1/clients/all/contact-methods?type={EMAIL}", None),
        "UpdateContactMethod": ("PATCH", a, {"label": "New"}),
        "GetPrimaryContactMethod": ("GET", f"/v1/clients/all/primary/{EMAIL}", None),
        "BatchCreateContactMethods": ("POST", f"{batch}Create", {"requests": [fields], "partial": True}),
        "BatchUpdateContactMethods": ("POST", f"{batch}Update", {"requests": [{"id": record["id"], "label": "Newer"}]}),
        "BatchGetContactMethods": ("POST", f"{batch}Get", {"ids": [record["id"]]}),
        "UpsertContactMethod": ("POST", "/v1/contact-methods:upsert", {"externalId": "all-2", **fields}),
        "BatchUpsertContactMethods": ("POST", f"{batch}Upsert", {"requests": [{"externalId": "all-2", **fields}]}),
        "StreamContactMethods": ("POST", "/v1/contact-methods:stream", {"filter": {"clientIds": ["all"]}}),
        "StartContactMethodVerification": ("POST", f"{a}:startVerification", {}),
        "CheckContactMethodVerification": ("POST", f"{a}:checkVerification", {"code": "000000"}),
        "SetContactMethodVerification": ("POST", f"{a}:setVerification", {"verified": True}),
        "BatchDeleteContactMethods": ("POST", f"{batch}Delete", {"ids": [other["id"]]}),
        "DeleteContactMethod": ("DELETE", f"{b}?allowMissing=true&onPrimary=PRIMARY_DELETE_POLICY_REJECT", None),
        "SyncClientContactMethods": ("POST", "/v1/clients/all/contact-methods:sync", {"items": [fields]}),
        "EraseClientContactMethods": ("POST", "/v1/clients/all:erase", {}),
    }

    answers = {name: await envoy.call(*call) for name, call in calls.items()}

    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(calls, 200)
    rules = yaml.safe_load((FOLDER / "http_rules.yaml").read_text())["http"]["rules"]
    assert {rule["selector"].rpartition(".")[2] for rule in rules} == set(calls)
    # Each answer is the one of its RPC.
    for name, answer in answers.items():
        if name != "StreamContactMethods":
            fields_of_answer = {field.json_name for field in _response_type(name).fields}
            assert set(answer.json) <= fields_of_answer, name


def _response_type(rpc: str) -> Any:
    return pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods_by_name[rpc].output_type


async def test_a_page_of_a_known_origin_may_call_and_read_the_status(envoy: Envoy) -> None:
    for path, method in ((f"{SERVICE}/GetContactMethod", "POST"), ("/v1/contact-methods/contact_1", "PATCH")):
        preflight = await envoy.call(
            "OPTIONS",
            path,
            headers={
                "origin": ORIGIN,
                "access-control-request-method": method,
                "access-control-request-headers": "content-type,x-grpc-web,x-user-agent,authorization",
            },
        )

        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert method in preflight.headers["access-control-allow-methods"]
        assert "authorization" in preflight.headers["access-control-allow-headers"]
    called = await envoy.call("GET", "/v1/contact-methods/contact_1", headers={"origin": ORIGIN})
    assert "grpc-status-details-bin" in called.headers["access-control-expose-headers"]


async def test_a_page_of_another_origin_may_not(envoy: Envoy) -> None:
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}

    preflight = await envoy.call("OPTIONS", f"{SERVICE}/GetContactMethod", headers=headers)

    assert "access-control-allow-origin" not in preflight.headers


async def test_the_admin_interface_is_a_socket_of_its_owner(envoy: Envoy) -> None:
    mode = envoy.admin_socket.stat().st_mode

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
