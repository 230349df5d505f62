"""Every field of a contact method survives every form that it takes, so that a place that was forgotten is noticed."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

import contactsvc_client
import pytest
from contactsvc_client import AsyncContactsClient
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord, RequestFingerprint
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.listing import SortField
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.outcomes import Action, Applied
from contactsvc.domain.primary import PrimaryDeletePolicy
from contactsvc.domain.verification import Challenge
from contactsvc.rpc.enums import ACTION_NUMBERS, DELETE_POLICIES, SORT_FIELDS, TYPE_NUMBERS, TYPES
from contactsvc.rpc.responses import to_proto
from contactsvc.store import from_document, to_document
from contactsvc.transfer import csv_rows, fields, json_lines
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.unit.fake_service import faked

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

PLAIN = ContactMethod(
    id="contact_00000000000000000000000001",
    client_id="client_1",
    type=ContactMethodType.OTHER,
    value=ContactValue("@juan", "@juan"),
    label=None,
    is_primary=False,
    verified_at=None,
    external_id=None,
    metadata={},
    created_at=NOW,
    updated_at=NOW,
    etag="00",
)
FULL = ContactMethod(
    id="contact_00000000000000000000000002",
    client_id="client_2",
    type=ContactMethodType.PHONE,
    value=ContactValue("+52 55 1234 5678", "+525512345678"),
    label="Work",
    is_primary=True,
    verified_at=NOW.replace(hour=14, microsecond=1_000),
    verification_method="code",
    challenge=Challenge("c0", "s0", NOW, NOW, "e0", sends=2, tries=1, is_passed=True),
    external_id="crm-7",
    metadata={"source": "crm"},
    created_at=NOW.replace(hour=13, microsecond=2_000),
    updated_at=NOW.replace(hour=15, microsecond=3_000),
    etag="01",
    requests=(
        IdempotencyRecord(
            RequestFingerprint("request_1", b"digest"),
            NOW,
            (Applied(Action.UPDATED, "contact_00000000000000000000000002", ("contact_00000000000000000000000003",)),),
        ),
    ),
)

NAMES = [field.name for field in dataclasses.fields(ContactMethod)]
# What callers see; the others are between the service and its database.
PUBLIC_NAMES = [name for name in NAMES if name not in {"requests", "challenge"}]
# An export is of records, and an etag of their copy here.
TRANSFERRED_NAMES = [name for name in PUBLIC_NAMES if name != "etag"]
# Callers set these; the service sets the others.
GIVEN_NAMES = [field.name for field in fields.GIVEN]


def with_one(name: str) -> ContactMethod:
    """Return the plain record with this field, and what it takes for that field, of the full one."""
    changes = {name: getattr(FULL, name)}
    if name in {"type", "value"}:
        changes = {"type": FULL.type, "value": FULL.value}
    return replace(PLAIN, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_the_full_record_differs_from_the_plain_one_in_every_field(name: str) -> None:
    assert getattr(FULL, name) != getattr(PLAIN, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_keeps_the_field(name: str) -> None:
    record = with_one(name)

    read = from_document(to_document(record))

    assert {field: getattr(read, field) for field in NAMES} == {field: getattr(record, field) for field in NAMES}
    assert to_document(record) != to_document(PLAIN)


@pytest.mark.parametrize("name", TRANSFERRED_NAMES)
def test_a_line_of_json_keeps_the_field(name: str) -> None:
    record = with_one(name)

    read = json_lines.parse_record(json_lines.record_line(record), ValueRules()).record

    assert read == replace(record, etag="")
    assert json_lines.record_line(record) != json_lines.record_line(PLAIN)


@pytest.mark.parametrize("name", [name for name in TRANSFERRED_NAMES if name != "verification_method"])
def test_a_line_of_csv_shows_the_field(name: str) -> None:
    assert csv_rows.cells_of(with_one(name)) != csv_rows.cells_of(PLAIN)


@pytest.mark.parametrize("name", GIVEN_NAMES)
def test_a_line_of_csv_gives_the_field_back(name: str) -> None:
    record = with_one(name)
    cells = dict(zip(csv_rows.column_names(), csv_rows.cells_of(record), strict=True))

    read = csv_rows.parse_cells(cells, ValueRules(), now=NOW).record

    assert [getattr(read, field) for field in GIVEN_NAMES] == [getattr(record, field) for field in GIVEN_NAMES]


def test_the_table_of_transferred_fields_has_every_field_once() -> None:
    names = [field.name for field in fields.FIELDS]

    assert sorted(names) == sorted([*TRANSFERRED_NAMES, "normalized_value"])
    columns = [field.column for field in fields.FIELDS if field.column is not None]
    assert sorted(columns) == list(range(len(names) - 1))


def test_an_import_of_csv_ignores_what_the_service_sets() -> None:
    ignored = {field.name for field in fields.FIELDS} - set(GIVEN_NAMES)

    assert ignored == {"id", "normalized_value", "verified_at", "verification_method", "created_at", "updated_at"}


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_message_shows_the_field(name: str) -> None:
    assert to_proto(with_one(name)) != to_proto(PLAIN)


def test_no_field_of_the_message_is_left_empty() -> None:
    full = to_proto(FULL)

    assert {field.name for field, _ in full.ListFields()} == {field.name for field in full.DESCRIPTOR.fields}


async def read_by_the_client(*messages: pb.ContactMethod) -> list[contactsvc_client.ContactMethod]:
    """Return the records that the client makes of messages."""
    records = []
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        for message in messages:
            service.record = message
            records.append(await sdk.contact_methods.retrieve("any"))
    return records


async def test_the_clients_record_has_every_field_of_the_message() -> None:
    plain, full = await read_by_the_client(to_proto(PLAIN), to_proto(FULL))

    names = [field.name for field in dataclasses.fields(full)]
    assert sorted(names) == sorted(field.name for field in pb.ContactMethod.DESCRIPTOR.fields)
    assert [name for name in names if getattr(full, name) == getattr(plain, name)] == []


async def test_the_clients_record_has_the_values_of_the_servers() -> None:
    (record,) = await read_by_the_client(to_proto(FULL))

    assert (record.value, record.normalized_value) == (FULL.value.text, FULL.value.normalized)
    assert record.is_verified
    same = [name for name in PUBLIC_NAMES if name != "value"]
    assert [getattr(record, name) for name in same] == [getattr(FULL, name) for name in same]


def names_of(enum: EnumTypeWrapper, prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in enum.keys() if not name.endswith("_UNSPECIFIED")}  # noqa: SIM118


@pytest.mark.parametrize(
    ("enum", "prefix", "ours"),
    [
        (pb.ContactMethodType, "CONTACT_METHOD_TYPE_", ContactMethodType),
        (pb.ContactMethodType, "CONTACT_METHOD_TYPE_", contactsvc_client.ContactMethodType),
        (pb.ContactMethodSortField, "CONTACT_METHOD_SORT_FIELD_", SortField),
        (pb.UpsertAction, "UPSERT_ACTION_", contactsvc_client.UpsertAction),
    ],
)
def test_enums_have_the_values_of_the_proto(enum: EnumTypeWrapper, prefix: str, ours: type[StrEnum]) -> None:
    assert {member.name for member in ours} == names_of(enum, prefix)


async def test_the_client_reads_every_type() -> None:
    types = list(ContactMethodType)

    records = await read_by_the_client(*(pb.ContactMethod(type=TYPE_NUMBERS[type_]) for type_ in types))

    assert [record.type.value for record in records] == [type_.value for type_ in types]


def test_tables_of_enums_are_complete() -> None:
    assert set(TYPES.values()) == set(TYPE_NUMBERS) == set(ContactMethodType)
    assert set(SORT_FIELDS.values()) == set(SortField)
    assert set(DELETE_POLICIES.values()) == set(PrimaryDeletePolicy)
    assert set(ACTION_NUMBERS) == set(Action) - {Action.DELETED}
    assert TYPE_NUMBERS[ContactMethodType.FAX] == pb.CONTACT_METHOD_TYPE_FAX
    assert DELETE_POLICIES[pb.PRIMARY_DELETE_POLICY_UNSPECIFIED] is PrimaryDeletePolicy.LEAVE_NONE
