from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of

EMAIL = pb.CONTACT_METHOD_TYPE_EMAIL
GOOD: dict[str, Any] = {"client_id": "client_1", "type": EMAIL, "value": "juan@example.com"}


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "x" * 129}, "client_id"),
        ({"client_id": "a\x00b"}, "client_id"),
        ({"type": 0}, "type"),
        ({"type": 99}, "type"),
        ({"type": -1}, "type"),
        ({"value": ""}, "value"),
        ({"value": "   "}, "value"),
        ({"value": "x" * 513, "type": pb.CONTACT_METHOD_TYPE_OTHER}, "value"),
        ({"value": "a\x07b", "type": pb.CONTACT_METHOD_TYPE_OTHER}, "value"),
        ({"value": "juan"}, "value"),
        ({"value": "juan@localhost"}, "value"),
        ({"value": "juan@test"}, "value"),
        ({"value": f"{'x' * 65}@example.com"}, "value"),
        ({"value": "juan@example..com"}, "value"),
        ({"value": "not a number", "type": pb.CONTACT_METHOD_TYPE_PHONE}, "value"),
        ({"value": "55 1234 5678", "type": pb.CONTACT_METHOD_TYPE_PHONE}, "value"),
        ({"value": "+52 1", "type": pb.CONTACT_METHOD_TYPE_FAX}, "value"),
        ({"label": "x" * 101}, "label"),
        ({"label": "a\nb"}, "label"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"metadata": {f"k{i}": "v" for i in range(51)}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"a=b": "v"}}, "metadata"),
        ({"metadata": {"k" * 41: "v"}}, "metadata"),
        ({"metadata": {"k": ""}}, "metadata[k]"),
        ({"metadata": {"k": "v" * 501}}, "metadata[k]"),
    ],
)
async def test_a_create_that_breaks_a_rule_names_the_field_and_writes_nothing(
    embedded_api: Api, fields: dict[str, Any], at_fault: str
) -> None:
    request = pb.CreateContactMethodRequest(**{**GOOD, **fields})

    failure = await failure_of(embedded_api.stub.CreateContactMethod(request))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == [at_fault]
    assert await embedded_api.total() == 0


async def test_all_limits_are_inclusive(embedded_api: Api) -> None:
    created = await embedded_api.create(
        "c" * 128,
        "v" * 512,
        type=pb.CONTACT_METHOD_TYPE_OTHER,
        label="ü" * 100,
        external_id="e" * 255,
        metadata={**{f"{i:040}": "v" * 500 for i in range(49)}, "A-z_0.9:": "line\nbreak"},
    )

    assert len(created.metadata) == 50


async def test_every_violation_is_reported_at_once(embedded_api: Api) -> None:
    failure = await failure_of(embedded_api.stub.CreateContactMethod(pb.CreateContactMethodRequest(label="x" * 101)))

    assert set(failure.fields) == {"client_id", "type", "value", "label"}


def requests() -> list[tuple[str, Any, str]]:
    no_type: Any = 0
    no_policy: Any = 9
    filters: list[tuple[dict[str, Any], str]] = [
        ({"ids": [""]}, "filter.ids[0]"),
        ({"ids": ["x"] * 251}, "filter.ids"),
        ({"client_ids": ["ok", "a\x00b"]}, "filter.client_ids[1]"),
        ({"types": [EMAIL, 0]}, "filter.types[1]"),
        ({"values": [""]}, "filter.values[0]"),
        ({"value_contains": "x" * 513}, "filter.value_contains"),
        ({"external_ids": [""]}, "filter.external_ids[0]"),
        ({"labels": [""]}, "filter.labels[0]"),
        ({"metadata": {"bad key": "v"}}, "filter.metadata"),
        ({"created_before": {"seconds": 10**15}}, "filter.created_before"),
    ]
    create = pb.CreateContactMethodRequest(**GOOD)
    return [
        ("GetContactMethod", pb.GetContactMethodRequest(), "id"),
        ("GetContactMethod", pb.GetContactMethodRequest(id="x" * 129), "id"),
        ("GetContactMethodByExternalId", pb.GetContactMethodByExternalIdRequest(), "external_id"),
        ("GetContactMethodByMetadata", pb.GetContactMethodByMetadataRequest(value="v"), "key"),
        ("GetContactMethodByMetadata", pb.GetContactMethodByMetadataRequest(key="k"), "value"),
        ("GetPrimaryContactMethod", pb.GetPrimaryContactMethodRequest(type=EMAIL), "client_id"),
        ("GetPrimaryContactMethod", pb.GetPrimaryContactMethodRequest(client_id="c"), "type"),
        ("ListClientContactMethods", pb.ListClientContactMethodsRequest(), "client_id"),
        ("ListClientContactMethods", pb.ListClientContactMethodsRequest(client_id="c", page_size=-1), "page_size"),
        ("ListContactMethods", pb.ListContactMethodsRequest(page_size=-1), "page_size"),
        ("ListContactMethods", pb.ListContactMethodsRequest(offset=-1), "offset"),
        ("ListContactMethods", pb.ListContactMethodsRequest(offset=1, page_token="x"), "offset"),
        ("ListContactMethods", pb.ListContactMethodsRequest(sort=[pb.ContactMethodSort()]), "sort[0].field"),
        ("UpdateContactMethod", pb.UpdateContactMethodRequest(label="x"), "id"),
        ("UpdateContactMethod", pb.UpdateContactMethodRequest(id="x", type=no_type), "type"),
        ("UpdateContactMethod", pb.UpdateContactMethodRequest(id="x", value=""), "value"),
        (
            "UpdateContactMethod",
            pb.UpdateContactMethodRequest(id="x", metadata={"a": "1"}, remove_metadata_keys=["a"]),
            "remove_metadata_keys",
        ),
        (
            "UpdateContactMethod",
            pb.UpdateContactMethodRequest(id="x", replace_metadata=True, remove_metadata_keys=["a"]),
            "remove_metadata_keys",
        ),
        ("DeleteContactMethod", pb.DeleteContactMethodRequest(), "id"),
        ("DeleteContactMethod", pb.DeleteContactMethodRequest(id="x", on_primary=no_policy), "on_primary"),
        ("BatchCreateContactMethods", pb.BatchCreateContactMethodsRequest(), "requests"),
        ("BatchCreateContactMethods", pb.BatchCreateContactMethodsRequest(requests=[create] * 251), "requests"),
        *(
            ("ListContactMethods", pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(**fields)), at_fault)
            for fields, at_fault in filters
        ),
    ]


@pytest.mark.parametrize(("rpc", "request_", "at_fault"), requests())
async def test_every_request_names_its_field_at_fault(
    embedded_api: Api, rpc: str, request_: Any, at_fault: str
) -> None:
    failure = await failure_of(getattr(embedded_api.stub, rpc)(request_))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == [at_fault]


async def test_undecodable_bytes_are_a_malformed_request_on_every_rpc(embedded_api: Api) -> None:
    async with grpc.aio.insecure_channel(embedded_api.target) as channel:
        for method in pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods:
            call: Any = channel.unary_unary(f"/contactsvc.v1.ContactMethodsService/{method.name}")

            failure = await failure_of(call(b"\xff\xff\xff"))

            assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_the_request_id_of_the_caller_comes_back(embedded_api: Api) -> None:
    call = embedded_api.stub.ListContactMethods(pb.ListContactMethodsRequest(), metadata=(("x-request-id", "abc-1"),))
    await call

    assert dict(await call.trailing_metadata())["x-request-id"] == "abc-1"
