from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.primary import next_primary

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
VERIFIED = ContactMethod(
    id="contact_1",
    client_id="client_1",
    type=ContactMethodType.EMAIL,
    value=ContactValue("Juan@example.com", "juan@example.com"),
    label=None,
    is_primary=False,
    verified_at=NOON,
    external_id=None,
    metadata={},
    created_at=NOON,
    updated_at=NOON,
    etag="before",
)


def after(**fields: object) -> ContactMethod:
    return changed(VERIFIED, fields, now=NOON + timedelta(seconds=1), etag="after")


def test_another_formatting_or_label_keeps_the_verification() -> None:
    assert after(value=ContactValue("juan@EXAMPLE.com", "juan@example.com")).verified_at == NOON
    assert after(label="Work").verified_at == NOON


def test_another_normalized_value_or_type_clears_the_verification() -> None:
    assert after(value=ContactValue("ana@example.com", "ana@example.com")).verified_at is None
    assert after(type=ContactMethodType.OTHER).verified_at is None


def test_a_change_moves_etag_and_time_and_no_change_moves_neither() -> None:
    assert (after(label="Work").etag, after(label="Work").updated_at) == ("after", NOON + timedelta(seconds=1))
    assert after(label=None) is VERIFIED


def test_a_record_never_becomes_older_when_the_clock_steps_back() -> None:
    stepped_back = changed(VERIFIED, {"label": "Work"}, now=NOON - timedelta(hours=1), etag="after")

    assert stepped_back.updated_at == NOON


def test_verified_records_come_first_and_then_the_oldest() -> None:
    oldest = replace(VERIFIED, id="a", verified_at=None, created_at=NOON - timedelta(days=2))
    old = replace(VERIFIED, id="b", verified_at=None, created_at=NOON - timedelta(days=1))

    assert next_primary([old, VERIFIED, oldest]) is VERIFIED
    assert next_primary([old, oldest]) is oldest
    assert next_primary([]) is None
