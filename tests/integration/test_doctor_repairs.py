from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from contactsvc.store import INDEXES
from tests.integration.doctor_patient import Patient, double_primary, stale_value
from tests.integration.stored import (
    LONG_AGO,
    NOON,
    PERSONAL_DIGITS,
    document,
    phone,
    remembered_request,
)


async def shared_external_id(patient: Patient) -> None:
    await patient.collection.drop_index("external_id")
    await patient.insert(document("one", external_id="crm-2"), document("two", external_id="crm-2"))


async def shared_request(patient: Patient) -> None:
    await patient.collection.drop_index("request")
    later = datetime.now(UTC) + timedelta(hours=1)
    twin = {**remembered_request("first", later), "_id": "second"}
    await patient.insert(remembered_request("first", later), twin)


async def key_of_another_type(patient: Patient) -> None:
    await patient.insert(phone("stale", f"+52 {PERSONAL_DIGITS}01", f"fax:+52{PERSONAL_DIGITS}01"))


async def missing_key(patient: Patient) -> None:
    await patient.insert(document("stale", value_key=None))


async def missing_index(patient: Patient) -> None:
    await patient.collection.drop_index("value")


async def other_index(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    await patient.collection.create_index([("client_id", 1), ("type", 1), ("is_primary", 1)], name="primary_slot")


async def renamed_index(patient: Patient) -> None:
    await patient.collection.drop_index("metadata")
    await patient.collection.create_index([("metadata", 1), ("client_id", 1)], name="by_metadata")


async def unknown_layout(patient: Patient) -> None:
    await patient.insert(document("future", schema_version=99, metadata=None))


async def earlier_layout(patient: Patient) -> None:
    await patient.insert(
        document("early", client_id="client_2", is_primary=True, primary_key=None, schema_version=1),
        # The kind that has the key already, and a memory of requests.
        document("late", client_id="client_3", is_primary=True, schema_version=1.0),
        {**remembered_request("remembering_early", datetime.now(UTC) + timedelta(hours=1)), "schema_version": 1},
    )


async def missing_field(patient: Patient) -> None:
    await patient.insert(document("broken", updated_at=None, metadata=None))


async def odd_field(patient: Patient) -> None:
    await patient.insert(document("broken", created_at="yesterday", metadata={"a": "b"}))


async def unknown_type(patient: Patient) -> None:
    await patient.insert(document("broken", type="pigeon"))


async def no_contact_method(patient: Patient) -> None:
    await patient.insert(document("broken", client_id=None))


async def expired_memory(patient: Patient) -> None:
    await patient.insert(remembered_request("forgotten", LONG_AGO))


Plant = Callable[[Patient], Awaitable[None]]

# What is broken, the findings, and the exit code.
REPAIRABLE = [
    pytest.param(double_primary, [("wrong", "primary"), ("wrong", "index")], 1, id="double primary"),
    pytest.param(stale_value, [("wrong", "value")], 1, id="stale value"),
    pytest.param(key_of_another_type, [("wrong", "value")], 1, id="key of another type"),
    pytest.param(missing_key, [("wrong", "value")], 1, id="missing key"),
    pytest.param(missing_index, [("wrong", "index")], 1, id="missing index"),
    pytest.param(earlier_layout, [("warning", "layout")], 0, id="earlier layout"),
    pytest.param(expired_memory, [("note", "memory")], 0, id="expired memory"),
]
NOT_REPAIRABLE = [
    pytest.param(shared_external_id, [("wrong", "external_id"), ("wrong", "index")], id="shared external id"),
    pytest.param(shared_request, [("wrong", "request"), ("wrong", "index")], id="shared request"),
    pytest.param(other_index, [("wrong", "index")], id="other index"),
    pytest.param(renamed_index, [("wrong", "index")], id="renamed index"),
    pytest.param(unknown_layout, [("wrong", "document")], id="unknown layout"),
    pytest.param(missing_field, [("wrong", "document")], id="missing field"),
    pytest.param(odd_field, [("wrong", "document")], id="field of another kind"),
    pytest.param(unknown_type, [("wrong", "document")], id="unknown type"),
    pytest.param(no_contact_method, [("wrong", "document")], id="no contact method"),
]


@pytest.mark.parametrize("patient", ["motor", "pymongo"], indirect=True)
async def test_valid_data_has_no_findings(patient: Patient) -> None:
    result = await patient.checked(fix=True)

    assert (result.code, result.findings, result.questions) == (0, [], [])
    assert result.lines[-1] == {
        "event": "summary",
        "wrong": 0,
        "warning": 0,
        "note": 1,
        "mendable": 0,
        "contact_methods": {"live": 2, "test": 1},
    }


@pytest.mark.parametrize("patient", ["motor", "pymongo"], indirect=True)
@pytest.mark.parametrize(("plant", "findings", "code"), REPAIRABLE)
async def test_what_can_be_repaired_is_found_then_repaired(
    patient: Patient, plant: Plant, findings: list[tuple[str, str]], code: int
) -> None:
    await plant(patient)
    before = await patient.state()

    found = await patient.checked()

    assert (found.code, found.findings) == (code, findings)
    assert found.mendable == len(findings)
    assert await patient.state() == before

    refused = await patient.checked(fix=True, confirm=lambda question: False)

    assert (refused.code, len(refused.questions)) == (code, 1)
    assert refused.of("plan")
    assert await patient.state() == before

    repaired = await patient.checked(fix=True)

    assert repaired.code == 0
    assert len(repaired.of("mended")) == len(repaired.of("plan")) > 0
    assert repaired.of("skipped") == []
    again = await patient.checked()
    assert (again.code, again.findings) == (0, [])
    # The other environment did not change.
    assert (await patient.state())[1] == before[1]


@pytest.mark.parametrize("patient", ["motor", "pymongo"], indirect=True)
@pytest.mark.parametrize(("plant", "findings"), NOT_REPAIRABLE)
async def test_what_cannot_be_repaired_is_found_and_left_alone(
    patient: Patient, plant: Plant, findings: list[tuple[str, str]]
) -> None:
    await plant(patient)
    before = await patient.state()

    result = await patient.checked(fix=True)

    assert (result.code, result.findings, result.mendable) == (1, findings, 0)
    assert await patient.state() == before


async def test_the_verified_primary_stays_and_the_others_are_demoted(patient: Patient) -> None:
    await double_primary(patient)
    before = {id_: await patient.get(id_) for id_ in ("older", "verified", "newer", "phone")}

    found = await patient.checked(fix=True)

    finding = found.wrong[0]
    assert (finding["client_id"], set(finding["ids"])) == ("client_2", {"older", "verified", "newer"})
    after = {id_: await patient.get(id_) for id_ in before}
    assert (after["verified"], after["phone"]) == (before["verified"], before["phone"])
    for id_ in ("older", "newer"):
        assert not after[id_]["is_primary"]
        assert after[id_]["etag"] != before[id_]["etag"]
        assert after[id_]["updated_at"] > NOON
        assert after[id_].keys() == before[id_].keys() - {"primary_key"}


async def test_a_stale_value_gets_its_normalized_value_and_loses_its_verification(patient: Patient) -> None:
    await stale_value(patient)

    await patient.checked(fix=True)

    after = await patient.get("stale")
    assert after["value_key"] == f"phone:+52{PERSONAL_DIGITS}01"
    assert "verified_at" not in after
    assert after["etag"] != "etag of stale"
    assert after["updated_at"] > NOON
    assert after["metadata"] == ["source=crm"]


async def test_a_record_with_two_faults_is_repaired_in_one_run(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    for id_, since in (("a", LONG_AGO), ("b", NOON)):
        await patient.insert(
            document(id_, client_id="client_2", is_primary=True, value_key="email:x", created_at=since)
        )

    result = await patient.checked(fix=True)

    assert (result.code, result.of("skipped")) == (0, [])
    assert ((await patient.get("a"))["is_primary"], (await patient.get("b"))["is_primary"]) == (True, False)


@pytest.mark.parametrize("changed", ["verified", "older"])
async def test_a_record_that_changes_after_the_checkup_is_left_alone(patient: Patient, changed: str) -> None:
    await double_primary(patient)
    await patient.collection.delete_one({"_id": "newer"})
    loop = asyncio.get_running_loop()

    async def change() -> None:
        await patient.collection.update_one(
            {"_id": changed}, {"$set": {"is_primary": False, "etag": "theirs"}, "$unset": {"primary_key": ""}}
        )

    def confirm(question: str) -> bool:
        # Between checkup and repair another writer demotes the keeper, or the record to be demoted.
        asyncio.run_coroutine_threadsafe(change(), loop).result()
        return True

    result = await patient.checked(fix=True, confirm=confirm)

    assert result.code == 0
    assert [line["target"] for line in result.of("skipped")] == ["older"]
    assert (await patient.get(changed))["etag"] == "theirs"
    other = {"verified": "older", "older": "verified"}[changed]
    assert (await patient.get(other))["is_primary"]


async def test_an_invalid_primary_keeps_the_others_from_being_demoted(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    await patient.insert(
        document("a", client_id="client_2", is_primary=True, created_at=None),
        document("b", client_id="client_2", is_primary=True),
    )
    before = await patient.state()

    result = await patient.checked(fix=True)

    assert result.findings == [("wrong", "primary"), ("wrong", "index"), ("wrong", "document")]
    assert (result.code, result.mendable) == (1, 0)
    assert await patient.state() == before


async def test_a_wrong_primary_key_is_repaired(patient: Patient) -> None:
    await patient.insert(
        document("lost", client_id="client_2", is_primary=True, primary_key=None),
        document("false", client_id="client_3", primary_key="email:client_3"),
    )

    found = await patient.checked()
    await patient.checked(fix=True)
    again = await patient.checked()

    assert {tuple(finding["ids"]) for finding in found.wrong} == {("lost",), ("false",)}
    assert (await patient.get("lost"))["primary_key"] == "email:client_2"
    assert "primary_key" not in await patient.get("false")
    assert not again.wrong


async def test_every_index_of_the_service_is_checked(patient: Patient) -> None:
    for index in INDEXES:
        await patient.collection.drop_index(index.name)

    result = await patient.checked()

    assert len(result.wrong) == len(INDEXES)
    assert all(
        f"index {index.name} is missing" in line["message"] for index, line in zip(INDEXES, result.wrong, strict=True)
    )
