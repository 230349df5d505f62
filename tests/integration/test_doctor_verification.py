"""`contactsvc doctor` and the verification of values."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.doctor_patient import Patient
from tests.integration.stored import LONG_AGO, NOON, PERSONAL_DIGITS, document, phone

both_drivers = pytest.mark.parametrize("patient", ["motor", "pymongo"], indirect=True)


def challenge(*, started: float, sent: float | None = None, **fields: Any) -> dict[str, Any]:
    """Return a stored challenge that was started, and last sent, so many minutes ago."""
    now = datetime.now(UTC)
    return {
        "id": "0011223344556677",
        "secret_id": "live-1",
        "started_at": now - timedelta(minutes=started),
        "sent_at": now - timedelta(minutes=started if sent is None else sent),
        "sends": 1,
        "tries": 0,
        "is_passed": False,
        "etag": "etag of the challenge",
        **fields,
    }


@both_drivers
async def test_expired_challenges_are_removed_and_others_stay(patient: Patient) -> None:
    living = challenge(started=25, sent=5)
    spent = challenge(started=5, tries=5)
    await patient.insert(
        document("living", challenge=living),
        document("spent", challenge=spent),
        document("not_sent_again", challenge=challenge(started=11)),
        document("sent_again", challenge=challenge(started=31, sent=1), verified_at=NOON, verification_method="code"),
    )

    found = await patient.checked()
    fixed = await patient.checked(fix=True)

    assert (found.code, found.findings, found.mendable) == (0, [("note", "challenge")], 1)
    assert "2 expired challenges" in found.of("finding")[-1]["message"]
    assert [line["repair"] for line in fixed.of("mended")] == ["remove_challenges"]
    assert (await patient.checked()).findings == []
    assert {"challenge", "etag"} <= (await patient.get("living")).keys()
    assert "challenge" in await patient.get("spent")
    for id_ in ("not_sent_again", "sent_again"):
        repaired = await patient.get(id_)
        assert "challenge" not in repaired
        assert repaired["etag"] == f"etag of {id_}"
    assert (await patient.get("sent_again"))["verification_method"] == "code"


async def test_a_challenge_that_is_started_while_the_plan_is_confirmed_stays(patient: Patient) -> None:
    loop = asyncio.get_running_loop()
    await patient.insert(document("restarted", challenge=challenge(started=11)))
    await patient.insert(document("expired", challenge=challenge(started=11)))

    async def restart() -> None:
        await patient.collection.update_one({"_id": "restarted"}, {"$set": {"challenge": challenge(started=0)}})

    def confirm(question: str) -> bool:
        asyncio.run_coroutine_threadsafe(restart(), loop).result()
        return True

    await patient.checked(fix=True, confirm=confirm)

    assert "challenge" in await patient.get("restarted")
    assert "challenge" not in await patient.get("expired")


@both_drivers
async def test_a_renewed_normal_form_voids_the_challenge_and_clears_the_verification(patient: Patient) -> None:
    verified = {"verified_at": NOON, "verification_method": "code", "challenge": challenge(started=1)}
    await patient.insert(
        phone("stale", f"+52 1 {PERSONAL_DIGITS}01", f"phone:+521{PERSONAL_DIGITS}01", **verified),
        phone("sound_as_well", f"+52 {PERSONAL_DIGITS}02", f"phone:+52{PERSONAL_DIGITS}02", **verified),
    )

    fixed = await patient.checked(fix=True)
    stale, sound = await patient.get("stale"), await patient.get("sound_as_well")

    assert [line["repair"] for line in fixed.of("mended")] == ["renormalize"]
    assert stale["value_key"] == f"phone:+52{PERSONAL_DIGITS}01"
    assert not {"challenge", "verified_at", "verification_method"} & stale.keys()
    assert {"challenge", "verified_at", "verification_method"} <= sound.keys()


async def test_a_demotion_keeps_challenge_and_verification(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    verified = {"is_primary": True, "verification_method": "code", "client_id": "client_2"}
    await patient.insert(
        document("kept", verified_at=NOON, created_at=LONG_AGO, **verified),
        document("demoted", verified_at=NOON, challenge=challenge(started=1), **verified),
    )

    fixed = await patient.checked(fix=True)
    demoted = await patient.get("demoted")

    assert "demote" in [line["repair"] for line in fixed.of("mended")]
    assert not demoted["is_primary"]
    assert {"challenge", "verified_at", "verification_method"} <= demoted.keys()
