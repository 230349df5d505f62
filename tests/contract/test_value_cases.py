"""All cases of values over the wire, on a server of the region that they name."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.cases import ValueCase, value_cases
from tests.conftest import Api, OpenStores, failure_of, ids, serving

CASES = value_cases()
REGIONS = sorted({case.region for case in CASES}, key=str)


def enum_of(case: ValueCase) -> Any:
    return pb.ContactMethodType.Value(f"CONTACT_METHOD_TYPE_{case.type.upper()}")


async def fault_of(api: Api, case: ValueCase) -> str:
    """Return how the answer to a case differs from its table; empty for not at all."""
    request = pb.CreateContactMethodRequest(client_id="client_1", type=enum_of(case), value=case.text)
    if case.normalized is not None:
        try:
            created = (await api.stub.CreateContactMethod(request)).contact_method
        except grpc.aio.AioRpcError as error:
            return f"refused: {error.details()}"
        return "" if created.normalized_value == case.normalized else f"became {created.normalized_value}"
    try:
        failure = await failure_of(api.stub.CreateContactMethod(request))
    except AssertionError:
        return "accepted"
    if (failure.code, failure.reason) != (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
        return f"ended with {failure.code} {failure.reason}"
    if failure.fields != ["value"]:
        return f"names {failure.fields}"
    if case.message not in failure.message:
        return f"says only: {failure.message}"
    return "quoted" if len(case.text) > 2 and case.text in failure.message else ""


@pytest.mark.parametrize("region", REGIONS, ids=str)
async def test_a_server_reads_values_as_the_tables_say(on_embedded: OpenStores, region: str | None) -> None:
    async with serving(await on_embedded(), ValueRules(default_region=region)) as api:
        faults = {
            (case.type, case.text, case.why): fault
            for case in CASES
            if case.region == region and (fault := await fault_of(api, case))
        }

    assert faults == {}


async def test_a_record_is_found_by_every_spelling_of_its_value(on_embedded: OpenStores) -> None:
    cases = [case for case in CASES if case.region == "MX" and case.normalized == "+525512345678"]
    async with serving(await on_embedded(), ValueRules(default_region="MX")) as api:
        created = await api.create(value=cases[0].text, type=enum_of(cases[0]))

        for case in cases:
            found = await api.stub.ListContactMethods(
                pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(values=[case.text]))
            )
            assert ids(found.contact_methods) == [created.id], case


async def test_a_value_is_kept_as_sent_after_trimming(embedded_api: Api) -> None:
    created = await embedded_api.create(value="\u2066\u200bmailto:Juan@Example.com\u00a0\ufeff")

    assert created.value == "mailto:Juan@Example.com"


async def test_the_length_of_a_value_counts_after_trimming(embedded_api: Api) -> None:
    invisible = "\u200b\u00a0" * 20

    created = await embedded_api.create(value=invisible + "é" * 512 + invisible, type=pb.CONTACT_METHOD_TYPE_OTHER)

    assert created.value == "é" * 512
    failure = await failure_of(embedded_api.create(value="é" * 513, type=pb.CONTACT_METHOD_TYPE_OTHER))
    assert "1 to 512 characters" in failure.message


async def test_control_characters_are_trimmed_blanks_at_the_ends_and_refused_inside(embedded_api: Api) -> None:
    created = await embedded_api.create(value="\t\r\n@juan\n\u0085", type=pb.CONTACT_METHOD_TYPE_OTHER)

    assert created.value == "@juan"
    failure = await failure_of(embedded_api.create(value="@ju\tan", type=pb.CONTACT_METHOD_TYPE_OTHER))
    assert "control characters" in failure.message
