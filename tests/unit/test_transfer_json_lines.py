from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.errors import InvalidFields
from contactsvc.transfer import json_lines
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.json_lines import Checksum, JsonLinesSource
from contactsvc.transfer.sources import MAX_LINE_BYTES, Row, UnreadableFile
from tests.unit.transfer_records import NOON, RECORDS, RULES, export_of, record

# Written by release 0.1.0.
EXPORT_OF_0_1_0 = (
    b'{"contactsvc_export":1,"environment":"live","changed_from":"2026-01-03T12:00:00.000Z"}\n'
    b'{"id":"contact_1","client_id":"c1","type":"email","value":"Ana@example.com","normalized_value":"ana@example.com",'
    b'"is_primary":true,"metadata":{"source":"crm"},"created_at":"2026-01-02T12:00:00.000Z",'
    b'"updated_at":"2026-01-02T12:00:01.000Z","label":"Work","external_id":"crm-7",'
    b'"verified_at":"2026-01-02T12:00:02.000Z"}\n'
    b'{"id":"contact_2","client_id":"c1","type":"phone","value":"ask","normalized_value":null,"is_primary":false,'
    b'"metadata":{},"created_at":"2026-01-02T12:00:00.000Z","updated_at":"2026-01-02T12:00:00.000Z"}\n'
)
RECORDS_OF_0_1_0 = [
    record(
        is_primary=True,
        metadata={"source": "crm"},
        updated_at=NOON + timedelta(seconds=1),
        label="Work",
        external_id="crm-7",
        verified_at=NOON + timedelta(seconds=2),
    ),
    record("contact_2", type=ContactMethodType.PHONE, value=ContactValue("ask", None)),
]


def rows_of(content: bytes) -> list[ContactMethod]:
    rows = [numbered.row for numbered in JsonLinesSource(io.BytesIO(content)).rows(RULES, NOON)]
    return [row.record for row in rows if isinstance(row, Row)]


def test_an_export_has_the_bytes_of_release_0_1_0() -> None:
    content = export_of(*RECORDS_OF_0_1_0)

    assert content.startswith(EXPORT_OF_0_1_0)
    trailer = b'{"lines":2,"sha256":"48e51c714362b7ec60a6d968d50e645d71744482c9d17bd801cc1bc000b9ae2a"}\n'
    assert content.removeprefix(EXPORT_OF_0_1_0) == trailer


def test_an_export_of_release_0_1_0_is_read() -> None:
    assert rows_of(export_of(*RECORDS_OF_0_1_0)) == RECORDS_OF_0_1_0


@given(RECORDS)
def test_a_line_gives_back_exactly_its_record(stored: ContactMethod) -> None:
    line = json_lines.record_line(stored)

    assert line.count(b"\n") == 1
    assert json_lines.parse_record(line, RULES) == Row(record=stored, is_restore=True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": 7}, "client_id"),
        ({"type": "pigeon"}, "type"),
        ({"value": "x" * 513}, "value"),
        ({"value": "\ud800"}, "value"),
        ({"label": "a\nb"}, "label"),
        ({"is_primary": "yes"}, "is_primary"),
        ({"metadata": {"a b": "c"}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"created_at": "2026-01-02T12:00:00"}, "created_at"),
        ({"updated_at": "yesterday"}, "updated_at"),
        ({"verified_at": None}, "verified_at"),
        ({"id": ""}, "id"),
        ({"normalized_value": "a\0"}, "normalized_value"),
        ({"normalized_value": "x" * 1537}, "normalized_value"),
        # Before year 1 in UTC.
        ({"created_at": "0001-01-01T00:00:00.000+01:00"}, "created_at"),
        ({"somebody": "somebody"}, "record"),
    ],
)
def test_a_violation_is_named_without_its_content(change: dict[str, Any], field: str) -> None:
    line = json.dumps({**json.loads(json_lines.record_line(record())), **change}).encode()

    with pytest.raises(InvalidFields) as raised:
        json_lines.parse_record(line, RULES)

    assert {violation.field for violation in raised.value.violations} == {field}
    assert "somebody" not in str(raised.value)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"7"])
def test_a_line_that_is_not_an_object_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidFields):
        json_lines.parse_record(line, RULES)


def test_a_normalized_value_may_be_three_times_as_long_as_its_value() -> None:
    stored = record(type=ContactMethodType.OTHER, value=RULES.read(ContactMethodType.OTHER, "\ufb2c" * 512))

    assert len(stored.value.normalized or "") == 3 * len(stored.value.text)
    assert json_lines.parse_record(json_lines.record_line(stored), RULES).record == stored


@pytest.mark.parametrize("version", ["somebody", 2, True, None, {"somebody": 1}])
def test_a_header_of_another_format_is_refused_without_its_content(version: Any) -> None:
    line = json.loads(json_lines.header_line(ExportHeader("live", NOON)))

    with pytest.raises(UnreadableFile) as raised:
        json_lines.parse_header(json.dumps({**line, "contactsvc_export": version}).encode())

    assert "somebody" not in str(raised.value)
    assert ("format version 2" in str(raised.value)) is (version == 2)


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        (b'{"id":"contact_1","type":"pigeon"}', "contact_1"),
        (b'{"id":"a\\nb"}', ""),
        (b'{"id":7}', ""),
        (b'{"id":"\\ud800"}', ""),
        (b"[]", ""),
        (b"{", ""),
    ],
)
def test_an_invalid_row_is_named_by_its_id_if_that_is_valid(line: bytes, id_: str) -> None:
    header, checksum = json_lines.header_line(ExportHeader("live", NOON)), Checksum()
    checksum.add_header(header)
    checksum.add_record(line + b"\n")
    file = io.BytesIO(header + line + b"\n" + checksum.trailer())

    (numbered,) = JsonLinesSource(file).rows(RULES, NOON)

    assert isinstance(numbered.row, InvalidFields)
    assert numbered.id == id_


def test_a_value_without_its_normalized_value_is_read_by_the_rules() -> None:
    line = json.loads(json_lines.record_line(record(value=ContactValue("nobody", None))))

    kept = json_lines.parse_record(json.dumps(line).encode(), RULES).record
    del line["normalized_value"]

    assert kept.value == ContactValue("nobody", None)
    with pytest.raises(InvalidFields):
        json_lines.parse_record(json.dumps(line).encode(), RULES)
    derived = json_lines.parse_record(json.dumps({**line, "value": "Ana@Example.com"}).encode(), RULES).record
    assert derived.value.normalized == "ana@example.com"


def test_a_truncated_or_edited_file_is_refused() -> None:
    whole = export_of(record("a"), record("b"))
    lines = whole.splitlines(keepends=True)
    bad = [
        *(whole[:size] for size in range(len(whole))),
        lines[0] + lines[2] + lines[3],
        lines[0] + lines[2] + lines[1] + lines[3],
        whole + lines[1],
        whole.replace(b"Ana", b"Eva", 1),
        whole.replace(b'export":1', b'export":2'),
        lines[0].ljust(MAX_LINE_BYTES, b" "),
    ]

    assert [one.id for one in rows_of(whole)] == ["a", "b"]
    for content in bad:
        with pytest.raises(UnreadableFile):
            JsonLinesSource(io.BytesIO(content))


def test_the_last_line_of_a_record_that_changed_during_an_export_counts() -> None:
    later = NOON + timedelta(seconds=1)
    content = export_of(
        record("demoted", is_primary=True),
        # Deleted after it was read: no later line shows it.
        record("deleted", client_id="c2", is_primary=True),
        record("demoted", updated_at=later),
        record("promoted", updated_at=later, is_primary=True),
        record("successor", client_id="c2", updated_at=later, is_primary=True),
        # Primary for a moment only.
        record("moment", client_id="c3", updated_at=later, is_primary=True),
        record("moment", client_id="c3", updated_at=later + timedelta(seconds=1)),
        record("quiet", client_id="c3", is_primary=True),
        changed_from=later,
    )

    rows = rows_of(content)

    assert [(row.id, row.is_primary) for row in rows] == [
        ("deleted", False),
        ("demoted", False),
        ("promoted", True),
        ("successor", True),
        ("moment", False),
        ("quiet", True),
    ]


def test_an_external_id_that_moves_during_an_export_belongs_to_the_new_record() -> None:
    later = NOON + timedelta(seconds=1)
    content = export_of(
        # Deleted after it was read: no later line shows it.
        record("deleted", external_id="crm-1"),
        record("released", external_id="crm-2"),
        record("successor", external_id="crm-1", updated_at=later),
        record("taker", external_id="crm-2", updated_at=later),
        record("released", updated_at=later),
        changed_from=later,
    )

    rows = rows_of(content)

    assert [(row.id, row.external_id) for row in rows] == [
        ("deleted", None),
        ("successor", "crm-1"),
        ("taker", "crm-2"),
        ("released", None),
    ]
