"""Normal forms of an environment that were written under other rules: found by doctor, renewed, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient

from contactsvc import doctor, store
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactValue, Environment
from contactsvc.domain.normalization import RulesVersion, ValueRules
from contactsvc.store import MAX_REPAIRS, Document, repairs_of
from tests.conftest import serving
from tests.integration.doctor_patient import CheckupResult, Patient
from tests.integration.stored import NOON, PERSONAL, PERSONAL_DIGITS, document, phone

both_drivers = pytest.mark.parametrize("patient", ["motor", "pymongo"], indirect=True)

MEXICAN, OF_NO_REGION = RulesVersion.current("MX"), RulesVersion.current(None)
WITH_OLD_LIBRARY = replace(OF_NO_REGION, phonenumbers="8.13.0")
# Kept by a renewal.
DETAILS: Document = {
    "is_primary": True,
    "verified_at": NOON,
    "external_id": "crm-9",
    "label": "Work",
    "client_id": "c9",
}


async def other_region(patient: Patient) -> str:
    """Store a national number that was read in Mexico, and is one of the United States as well."""
    await patient.record_rules(MEXICAN)
    await patient.insert(phone("stale", f"2{PERSONAL_DIGITS}1", f"phone:+522{PERSONAL_DIGITS}1", **DETAILS))
    return f"phone:+12{PERSONAL_DIGITS}1"


async def other_library(patient: Patient) -> str:
    """Store a number as an earlier release of phonenumbers normalized it."""
    await patient.record_rules(WITH_OLD_LIBRARY)
    text = f"+52 1 {PERSONAL_DIGITS}01"
    await patient.insert(phone("stale", text, f"phone:+521{PERSONAL_DIGITS}01", **DETAILS))
    return f"phone:+52{PERSONAL_DIGITS}01"


async def without_region(patient: Patient) -> str:
    """Store a number that lenient rules without a default region could not read."""
    await patient.insert(phone("stale", f"{PERSONAL_DIGITS}01", None, **DETAILS))
    return f"phone:+52{PERSONAL_DIGITS}01"


Plant = Callable[[Patient], Awaitable[str]]
KINDS = [
    pytest.param(other_region, {"default_region": "US"}, id="other region"),
    pytest.param(other_library, {}, id="other library"),
    pytest.param(without_region, {"default_region": "MX", "value_validation": "lenient"}, id="region added"),
]


@both_drivers
@pytest.mark.parametrize(("plant", "settings"), KINDS)
async def test_stale_records_are_named_then_renewed(patient: Patient, plant: Plant, settings: dict[str, str]) -> None:
    await patient.other.delete_many({})
    key = await plant(patient)
    before, recorded = await patient.get("stale"), await patient.recorded_rules()

    found = await patient.checked(settings)

    assert found.findings == [("wrong", "value"), ("warning", "value")]
    assert (found.wrong[0]["ids"], found.wrong[0]["count"], found.wrong[0]["client_id"]) == (["stale"], 1, "c9")
    assert str(recorded) in found.of("finding")[2]["message"]
    assert await patient.get("stale") == before
    assert await patient.recorded_rules() == recorded

    repaired = await patient.checked(settings, fix=True)

    after = await patient.get("stale")
    assert (repaired.code, repaired.of("skipped")) == (0, [])
    assert after["value_key"] == key
    changed_fields = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # The verification belongs to the normalized value.
    assert changed_fields - {"written_key"} == {"value_key", "etag", "updated_at", "verified_at"}
    assert not after.keys() & {"verified_at", "written_key"}
    assert await patient.recorded_rules() == RulesVersion.current(settings.get("default_region"))

    again = await patient.checked(settings, fix=True)

    assert (again.findings, again.questions) == ([], [])


@both_drivers
async def test_records_of_release_0_1_0_are_checked_and_their_rules_recorded_by_fix_only(patient: Patient) -> None:
    await patient.forget_rules()

    found = await patient.checked()
    refused = await patient.checked(fix=True, confirm=lambda question: False)

    assert (found.code, found.findings, found.mendable) == (0, [("note", "value")], 1)
    assert [line["repair"] for line in refused.of("plan")] == ["record_rules"]
    assert await patient.recorded_rules() is None

    await patient.checked(fix=True)

    assert await patient.recorded_rules() == OF_NO_REGION
    assert (await patient.checked(fix=True)).findings == []


async def test_an_environment_without_contact_methods_needs_no_rules(patient: Patient) -> None:
    await patient.collection.delete_many({})
    await patient.forget_rules()

    result = await patient.checked(fix=True)

    assert (result.findings, await patient.recorded_rules()) == ([], None)


async def test_a_new_library_that_changes_nothing_is_recorded(patient: Patient) -> None:
    await patient.record_rules(WITH_OLD_LIBRARY)

    result = await patient.checked(fix=True)

    assert (result.code, await patient.recorded_rules()) == (0, OF_NO_REGION)


@pytest.mark.parametrize(
    "obstacle",
    [
        # Invalid without a default region: doctor was perhaps called without the one of the service.
        phone("obstacle", f"{PERSONAL_DIGITS}01", f"phone:+52{PERSONAL_DIGITS}01"),
        document("obstacle", created_at="yesterday"),
        document("obstacle", schema_version=99),
    ],
    ids=["no region", "faulty document", "newer layout"],
)
async def test_rules_are_not_recorded_while_a_value_cannot_be_read(patient: Patient, obstacle: Document) -> None:
    await patient.record_rules(WITH_OLD_LIBRARY)
    await patient.insert(obstacle)

    result = await patient.checked(fix=True)

    assert result.mendable == 0
    assert await patient.recorded_rules() == WITH_OLD_LIBRARY
    assert await patient.get("obstacle") == obstacle


async def many_stale(patient: Patient, count: int) -> None:
    await patient.other.delete_many({})
    await patient.record_rules(WITH_OLD_LIBRARY)
    await patient.insert(*(document(f"stale_{i:04}", value_key="email:x", client_id=f"c{i}") for i in range(count)))


async def stale_left(patient: Patient) -> int:
    return await patient.collection.count_documents({"value_key": "email:x"})


@both_drivers
async def test_many_stale_records_share_a_finding_and_a_line_of_the_plan(patient: Patient) -> None:
    # More than one batch, of the cursor as of the repairs.
    count = 2 * MAX_REPAIRS + 50
    await many_stale(patient, count)
    first = [f"stale_{i:04}" for i in range(20)]

    result = await patient.checked(fix=True)

    (finding,) = result.wrong
    assert (finding["ids"], finding["count"]) == (first, count)
    assert f"{count} contact methods" in finding["message"]
    assert f"and {count - 20} more" in finding["message"]
    assert [(line["repair"], line.get("count")) for line in result.of("plan")] == [
        ("renormalize", count),
        ("record_rules", None),
    ]
    assert [(line["done"], line["total"]) for line in result.of("progress")] == [
        (MAX_REPAIRS, count),
        (2 * MAX_REPAIRS, count),
    ]
    assert [(line["repair"], line.get("count")) for line in result.of("mended")] == [
        ("renormalize", count),
        ("record_rules", None),
    ]
    assert result.questions == [f"Carry out {count + 1} changes?"]
    assert result.lines[-1]["wrong"] == 0
    assert await stale_left(patient) == 0


class Interrupted(Exception):
    """Ends a run of doctor, as a signal would."""


async def test_an_interrupted_renewal_is_resumed_by_the_next_run(patient: Patient) -> None:
    count = 2 * MAX_REPAIRS
    await many_stale(patient, count)

    def echo(line: str) -> None:
        if '"progress"' in line:
            raise Interrupted

    flags = {"mongodb_uri": patient.uri, "database": patient.name, "driver": patient.driver}
    report = doctor.Report(echo, as_json=True)
    with pytest.raises(Interrupted):
        await asyncio.to_thread(doctor.run, flags, {}, fix=True, report=report, confirm=lambda _: True)

    assert await stale_left(patient) == count - MAX_REPAIRS
    assert await patient.recorded_rules() == WITH_OLD_LIBRARY

    resumed = await patient.checked(fix=True)

    assert resumed.wrong[0]["count"] == count - MAX_REPAIRS
    assert await stale_left(patient) == 0
    assert await patient.recorded_rules() == OF_NO_REGION


async def test_a_record_that_changes_after_the_checkup_is_skipped_and_the_rules_are_not_recorded(
    patient: Patient,
) -> None:
    await many_stale(patient, 3)
    loop = asyncio.get_running_loop()

    def confirm(question: str) -> bool:
        change = patient.collection.update_one({"_id": "stale_0001"}, {"$set": {"etag": "theirs", "label": "theirs"}})
        asyncio.run_coroutine_threadsafe(_awaited(change), loop).result()
        return True

    result = await patient.checked(fix=True, confirm=confirm)

    skipped = {line["repair"]: line for line in result.of("skipped")}
    assert skipped["renormalize"]["ids"] == ["stale_0001"]
    assert "changed by another writer" in skipped["renormalize"]["message"]
    assert "record_rules" in skipped
    assert (result.code, await stale_left(patient)) == (1, 1)
    assert (await patient.get("stale_0001"))["etag"] == "theirs"
    assert await patient.recorded_rules() == WITH_OLD_LIBRARY

    assert (await patient.checked(fix=True)).code == 0
    assert await patient.recorded_rules() == OF_NO_REGION


async def _awaited(awaitable: Awaitable[Any]) -> None:
    await awaitable


@both_drivers
async def test_a_record_that_changes_while_its_batch_is_written_is_left_alone(patient: Patient) -> None:
    await many_stale(patient, 3)
    deployment = await store.connect(patient.uri, patient.driver)
    try:
        repairs = repairs_of(deployment, f"{patient.name}_live")
        found = await repairs.find_all({f"stale_{i:04}": f"etag of stale_{i:04}" for i in range(3)})
        await patient.collection.update_one({"_id": "stale_0001"}, {"$set": {"etag": "theirs"}})

        written = await repairs.replace_all([(present, with_value(present, "y")) for present in found.values()])
    finally:
        await deployment.close()

    assert written == {"stale_0000", "stale_0002"}
    assert [(await patient.get(f"stale_{i:04}"))["value_key"] for i in range(3)] == ["email:y", "email:x", "email:y"]


def with_value(present: ContactMethod, normalized: str) -> ContactMethod:
    value = ContactValue(present.value.text, normalized)
    return changed(present, {"value": value}, now=NOON, etag=new_etag())


def equal(result: CheckupResult) -> list[tuple[set[str], str]]:
    """Return ids and client of the findings about equal records."""
    found = [line for line in result.of("finding") if "same normalized value" in line.get("message", "")]
    assert all(line["severity"] == "note" for line in found)
    return [(set(line["ids"]), line["client_id"]) for line in found]


@both_drivers
async def test_records_of_a_client_that_become_equal_are_reported_and_kept(patient: Patient) -> None:
    number, mobile = f"+52{PERSONAL_DIGITS}01", f"+521{PERSONAL_DIGITS}01"
    await patient.insert(
        # One is renewed to the form of the other.
        phone("one_stale", mobile, f"phone:{mobile}", client_id="c1"),
        phone("one_right", number, f"phone:{number}", client_id="c1"),
        # Both are renewed.
        phone("two_stale", mobile, f"phone:{mobile}", client_id="c2"),
        phone("two_staler", f"044 {number}", "phone:+52044", client_id="c2"),
        # Of another client, and of another type.
        phone("three", mobile, f"phone:{mobile}", client_id="c3"),
        document("three_fax", type="fax", value=number, value_key=f"fax:{number}", client_id="c3"),
        # Equal before as well.
        phone("four", mobile, f"phone:{mobile}", client_id="c4"),
        phone("four_too", mobile, f"phone:{mobile}", client_id="c4"),
    )
    await patient.collection.update_one({"_id": "two_staler"}, {"$set": {"value": number}})

    result = await patient.checked(fix=True)
    again = await patient.checked(fix=True)

    assert sorted(equal(result), key=lambda found: found[1]) == [
        ({"one_stale", "one_right"}, "c1"),
        ({"two_stale", "two_staler"}, "c2"),
    ]
    assert result.lines[-1]["note"] == 3
    assert await patient.collection.count_documents({"value_key": f"phone:{number}"}) == 7
    assert equal(again) == []


async def test_records_that_become_equal_in_different_batches_are_reported(patient: Patient) -> None:
    mobile = f"+521{PERSONAL_DIGITS}01"
    await patient.insert(phone("stale_a", mobile, "phone:a", client_id="c1"))
    await many_stale(patient, MAX_REPAIRS)
    await patient.insert(phone("stale_z", mobile, "phone:z", client_id="c1"))

    result = await patient.checked(fix=True)

    assert equal(result) == [({"stale_a", "stale_z"}, "c1")]


@both_drivers
async def test_values_that_release_0_1_0_could_not_read_become_findable_by_their_text(patient: Patient) -> None:
    await patient.insert(phone("odd", f"Ask {PERSONAL}", None, written_key=None, verified_at=NOON))
    before = await patient.get("odd")
    stores = {Environment.LIVE: patient.deployment.existing_store(f"{patient.name}_live")}
    rules = ValueRules(lenient=True)
    async with serving(stores, rules) as api, AsyncContactsClient(api.target) as sdk:
        missed = await sdk.contact_methods.list(filter={"value": f"ask {PERSONAL}"})
        found = await patient.checked({"value_validation": "lenient"})
        await patient.checked({"value_validation": "lenient"}, fix=True)
        hit = await sdk.contact_methods.list(filter={"value": f"ask {PERSONAL}"})

    assert (found.findings, found.wrong[0]["ids"]) == ([("wrong", "value")], ["odd"])
    assert [len(page.data) for page in (missed, hit)] == [0, 1]
    assert await patient.get("odd") == {**before, "written_key": f"phone:ask {PERSONAL}"}
    assert (await patient.checked({"value_validation": "lenient"}, fix=True)).findings == []
