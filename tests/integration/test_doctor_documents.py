from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from contactsvc_client import AsyncContactsClient, ContactsError

from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import RulesVersion
from contactsvc.store import SCHEMA_VERSION, Document
from tests.conftest import serving
from tests.integration.doctor_patient import Patient
from tests.integration.stored import NOON, PERSONAL, PERSONAL_DIGITS, document, phone, remembered_request


@pytest.mark.parametrize(
    ("settings", "findings", "code", "mendable"),
    [
        ({"default_region": "MX"}, [], 0, 0),
        ({"value_validation": "lenient"}, [("wrong", "value")], 1, 1),
        ({}, [("wrong", "value")], 1, 0),
        # The number is valid there, but another one.
        ({"default_region": "FR"}, [("wrong", "value")], 1, 0),
    ],
)
async def test_values_are_read_by_the_rules_of_the_settings(
    patient: Patient, settings: dict[str, str], findings: list[tuple[str, str]], code: int, mendable: int
) -> None:
    await patient.record_rules(RulesVersion.current(settings.get("default_region")))
    await patient.insert(phone("national", f"{PERSONAL_DIGITS}01", f"phone:+52{PERSONAL_DIGITS}01"))

    result = await patient.checked(settings)

    assert (result.code, result.findings, result.mendable) == (code, findings, mendable)


async def test_lenient_rules_drop_the_normalized_value_of_an_invalid_value(patient: Patient) -> None:
    await patient.insert(phone("national", f"{PERSONAL_DIGITS}01", f"phone:+52{PERSONAL_DIGITS}01"))

    result = await patient.checked({"value_validation": "lenient"}, fix=True)

    assert result.code == 0
    assert "value_key" not in await patient.get("national")


@pytest.mark.parametrize(("validation", "findings"), [("lenient", []), ("strict", [("note", "value")])])
async def test_values_stored_under_lenient_rules_are_not_wrong(
    patient: Patient, validation: str, findings: list[tuple[str, str]]
) -> None:
    await patient.insert(phone("odd", f"ask {PERSONAL}", None))

    result = await patient.checked({"value_validation": validation})

    assert (result.code, result.findings) == (0, findings)


# Changes by hand to a valid document, and the findings. None is null here.
HAND_MADE: list[tuple[Document, list[tuple[str, str]]]] = [
    ({"label": None}, []),
    ({"external_id": None}, []),
    ({"verified_at": None}, []),
    ({"requests": None}, []),
    ({"primary_key": None}, []),
    ({"metadata": {}}, []),
    ({"schema_version": None}, [("warning", "layout")]),
    ({"schema_version": "two"}, [("warning", "layout")]),
    ({"schema_version": 0}, [("warning", "layout")]),
    ({"schema_version": float(SCHEMA_VERSION)}, []),
    ({"value_key": None}, [("wrong", "value")]),
    ({"value_key": "nocolon"}, [("wrong", "value")]),
    ({"primary_key": 5}, [("wrong", "primary")]),
    ({"schema_version": SCHEMA_VERSION + 1}, [("wrong", "document")]),
    *(
        (fields, [("wrong", "document")])
        for fields in (
            {"client_id": None},
            {"client_id": 7},
            {"type": "pigeon"},
            {"type": ["email"]},
            {"value": None},
            {"value_key": 5},
            {"label": 5},
            {"is_primary": None},
            {"is_primary": 1},
            {"external_id": ["crm"]},
            {"verified_at": "noon"},
            {"created_at": "noon"},
            {"updated_at": None},
            {"etag": 5},
            {"metadata": None},
            {"metadata": "a=b"},
            {"metadata": {"a": "b"}},
            {"metadata": [PERSONAL]},
            {"metadata": ["a=b", 7]},
            {"requests": 5},
            {"requests": [{"id": "x"}]},
            {"requests": [{"id": "x", "digest": b"d", "at": "noon", "outcomes": []}]},
            {"requests": [{"id": "x", "digest": b"d", "at": NOON, "outcomes": [{"action": "flown", "id": "x"}]}]},
            {
                "requests": [
                    {
                        "id": "x",
                        "digest": b"d",
                        "at": NOON,
                        "outcomes": [{"reason": PERSONAL, "message": "", "violations": [], "metadata": {}}],
                    }
                ]
            },
        )
    ),
]


@pytest.mark.parametrize(("fields", "findings"), HAND_MADE, ids=lambda given: repr(given)[:60])
async def test_the_service_fails_on_exactly_the_documents_that_doctor_calls_wrong(
    patient: Patient, fields: Document, findings: list[tuple[str, str]]
) -> None:
    await patient.insert({**document("hand_made"), **fields})
    stores = {Environment.LIVE: patient.deployment.existing_store(f"{patient.name}_live")}
    async with serving(stores) as api, AsyncContactsClient(api.target) as sdk:
        try:
            await sdk.contact_methods.retrieve("hand_made")
            reason: str | None = ""
        except ContactsError as error:
            reason = error.reason

    result = await patient.checked()

    assert result.findings == findings
    assert reason == ("INTERNAL" if ("wrong", "document") in findings else "")


async def test_unreadable_idempotency_records_are_found(patient: Patient) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await patient.insert(
        {**remembered_request("garbled", later), "requests": [{"id": "x"}]},
        {**remembered_request("lasting", later), "forget_at": "soon"},
    )

    result = await patient.checked()

    assert [(line["check"], line["ids"]) for line in result.wrong] == [
        ("document", ["garbled"]),
        ("document", ["lasting"]),
    ]
    assert all("remembers" in line["message"] for line in result.wrong)
