"""The largest answers."""

from __future__ import annotations

from datetime import UTC, datetime

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.rpc.responses import to_proto
from contactsvc.v1 import contact_methods_pb2 as pb

WIDE = "\U0001f600"


def test_250_records_at_all_limits_are_less_than_30_megabytes() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = to_proto(
        ContactMethod(
            id="contact_" + "a" * 26,
            client_id=WIDE * 128,
            type=ContactMethodType.OTHER,
            # NFC may write a character as three.
            value=ContactValue(WIDE * 512, WIDE * 3 * 512),
            label=WIDE * 100,
            is_primary=True,
            verified_at=now,
            external_id=WIDE * 255,
            metadata={f"{number:040}": WIDE * 500 for number in range(50)},
            created_at=now,
            updated_at=now,
            etag="e" * 40,
        )
    )
    # As much again as its longest id field for what a result has beside the record.
    result = pb.BatchUpsertContactMethodsResult(contact_method=record, demoted_ids=["contact_" + "a" * 26] * 4)

    assert 250 * len(result.SerializeToString()) < 30_000_000
