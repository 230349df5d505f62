"""Messages of records: times, and fields that are absent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson.tz_util import utc as bson_utc
from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.rpc.responses import to_proto


def record(at: datetime, **fields: object) -> ContactMethod:
    """Return a record of a time."""
    all_fields: dict[str, object] = {
        "id": "contact_1",
        "client_id": "c1",
        "type": ContactMethodType.EMAIL,
        "value": ContactValue("a@example.com", "a@example.com"),
        "label": None,
        "is_primary": False,
        "verified_at": None,
        "external_id": None,
        "metadata": {},
        "created_at": at,
        "updated_at": at,
        "etag": "e",
    }
    return ContactMethod(**{**all_fields, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("zone", [UTC, bson_utc], ids=["datetime's UTC", "the driver's UTC"])
@pytest.mark.parametrize(
    "at",
    [
        datetime(1970, 1, 1),
        datetime(1969, 12, 31, 23, 59, 59, 999000),
        datetime(2024, 2, 29, 23, 59, 59, 1000),
        datetime(2026, 11, 27, 15, 30, 1, 500000),
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999000),
    ],
    ids=str,
)
def test_times_become_timestamps(at: datetime, zone: object) -> None:
    expected = Timestamp()
    expected.FromDatetime(at)

    message = to_proto(record(at.replace(tzinfo=zone), verified_at=at.replace(tzinfo=zone)))  # type: ignore[arg-type]

    assert message.HasField("created_at")
    assert message.created_at == message.updated_at == message.verified_at == expected


def test_what_a_record_lacks_is_absent() -> None:
    message = to_proto(record(datetime(2026, 1, 1, tzinfo=UTC), value=ContactValue("x", None)))

    assert not message.HasField("verified_at")
    assert [descriptor.name for descriptor, _ in message.ListFields()] == [
        "id",
        "client_id",
        "type",
        "value",
        "created_at",
        "updated_at",
        "etag",
    ]
