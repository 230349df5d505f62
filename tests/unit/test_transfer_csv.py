from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.errors import InvalidFields
from contactsvc.transfer import csv_rows, fields
from contactsvc.transfer.csv_rows import CsvSink, CsvSource
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.formats import FileFormat
from contactsvc.transfer.sources import Row, UnreadableFile
from tests.unit.transfer_records import NOON, RECORDS, RULES, record


def export_of(*records: ContactMethod) -> bytes:
    file = io.BytesIO()
    sink = CsvSink(file)
    sink.begin(ExportHeader("live", NOON))
    for one in records:
        sink.put(one)
    sink.end()
    return file.getvalue()


def rows_of(content: bytes) -> list[Row | InvalidFields]:
    return [numbered.row for numbered in CsvSource(io.BytesIO(content)).rows(RULES, NOON)]


def test_an_export_has_the_bytes_of_release_0_1_0() -> None:
    full = record(
        is_primary=True,
        metadata={"source": "crm"},
        label="Work",
        external_id="crm-7",
        verified_at=NOON,
    )
    lean = record("contact_2", type=ContactMethodType.PHONE, value=ContactValue("ask", None))

    assert export_of(full, lean) == (
        b"id,normalized_value,verified_at,created_at,updated_at,client_id,type,value,label,is_primary,external_id,"
        b"metadata\r\n"
        b"contact_1,ana@example.com,2026-01-02T12:00:00.000Z,2026-01-02T12:00:00.000Z,2026-01-02T12:00:00.000Z,c1,"
        b'email,Ana@example.com,Work,true,crm-7,"{""source"":""crm""}"\r\n'
        b"contact_2,,,2026-01-02T12:00:00.000Z,2026-01-02T12:00:00.000Z,c1,phone,ask,,false,,\r\n"
    )


@given(RECORDS.map(lambda stored: replace(stored, type=ContactMethodType.OTHER)).filter(lambda it: trim(it.client_id)))
def test_an_import_reads_back_what_a_list_may_set(stored: ContactMethod) -> None:
    line = csv_rows.csv_line(csv_rows.cells_of(stored)).decode()

    (cells,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    named = dict(zip(csv_rows.column_names(), cells, strict=True))
    read = csv_rows.parse_cells(named, RULES, now=NOON).record

    assert (read.type, read.is_primary, read.metadata) == (stored.type, stored.is_primary, stored.metadata)
    assert read.value.text == stored.value.text
    assert read.client_id == trim(stored.client_id)
    assert read.label == (trim(stored.label or "") or None)
    assert read.external_id == (trim(stored.external_id or "") or None)


def test_the_same_row_always_gets_the_same_id() -> None:
    cells = {"client_id": "c1", "type": "phone", "value": "+52 55 1234 5678"}
    mexican = ValueRules("MX")

    ids = [
        csv_rows.parse_cells(given_cells, rules, now=NOON).record.id
        for given_cells, rules in (
            (cells, RULES),
            ({**cells, "client_id": "c1\u00a0", "value": " +52 55 1234 5678", "label": "Desk"}, mexican),
            ({**cells, "external_id": "crm-1"}, RULES),
            ({**cells, "external_id": "crm-1 ", "value": "+52 55 1234 0000"}, RULES),
            ({**cells, "client_id": "c2"}, RULES),
        )
    ]

    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4]
    assert all(len(id_) == len("contact_") + 26 for id_ in ids)


def test_the_ids_of_release_0_1_0_can_be_derived() -> None:
    cells = {"client_id": "c1", "type": "phone", "value": "+52 55 1234 5678"}

    by_value = fields.derived_id_0_1_0(csv_rows.parse_cells(cells, RULES, now=NOON).record)
    by_external_id = csv_rows.parse_cells({**cells, "external_id": "crm-1"}, RULES, now=NOON).record.id

    assert (by_value, by_external_id) == ("contact_1nkzsb4sr2tffa0bf5jdqhqkf1", "contact_45gaprx49ns861vfw11gffjpdz")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "client_id,type\n",
        "client_id,type,value,value\n",
        "client_id,type,value,colour\n",
        'client_id,type,value\nc1,email,"a@example.com',
        "client_id,type,value\nc1,email,a@example\rcom\n",
        "client_id,type,value\nc1,email,\udcff\n",
    ],
)
def test_an_unreadable_list_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFile):
        rows_of(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("client_id|type|value\nc1|email|a@example.com\n", "separated by commas, semicolons or tabs"),
        ("client_id,type,value\rc1,email,a@example.com\r", "LF or CRLF line endings"),
        ("client_id,type,value\r" + "c1,email,a@example.com\r" * 50_000, "LF or CRLF line endings"),
        ("client_id,type,value,somebody\n", "unknown column 4"),
        ("client_id,type,value,somebody,label,somebody else\n", "unknown columns 4, 6"),
    ],
)
def test_a_list_that_was_saved_in_another_way_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UnreadableFile) as raised:
        rows_of(text.encode())

    assert reason in str(raised.value)
    assert "somebody" not in str(raised.value)


def test_a_list_of_a_spreadsheet_is_read() -> None:
    (first,) = rows_of(
        b"\xef\xbb\xbfclient_id, type ,value,is_primary,metadata,metadata.city\r\n"
        b'c1,EMAIL,a@example.com,TRUE,"{""a"":""b""}","M\xc3\xa9xico\nDF"\r\n,,,,,\r\n \r\n'
    )

    assert isinstance(first, Row)
    assert first.record.is_primary
    assert first.record.metadata == {"a": "b", "city": "México\nDF"}


def test_empty_columns_at_the_end_of_a_list_are_ignored() -> None:
    rows = rows_of(b"client_id,type,value,,\nc1,email,a@example.com,,\nc1,email,b@example.com\n")

    assert [isinstance(row, Row) for row in rows] == [True, True]
    with pytest.raises(UnreadableFile, match=r"another number of cells than the first row, which has 3: line 2$"):
        rows_of(b"client_id,type,value,,\nc1,email,c@example.com,,oops\n")


def test_a_value_that_cannot_be_read_is_the_refusal_of_its_row() -> None:
    cells = {"client_id": "c1", "type": "email", "value": "nobody"}

    row = csv_rows.parse_cells(cells, RULES, now=NOON)
    with pytest.raises(InvalidFields) as raised:
        csv_rows.parse_cells({**cells, "is_primary": "maybe"}, RULES, now=NOON)

    assert row.refusal is not None
    assert (row.refusal.field, row.record.value) == ("value", ContactValue("nobody", None))
    assert [violation.field for violation in raised.value.violations] == ["is_primary", "value"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"is_primary": "maybe"}, "is_primary"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[" * 100_000}, "metadata"),
        ({"metadata": '{"a": 1}', "metadata.b": "c"}, "metadata"),
        ({"metadata.a b": "c"}, "metadata"),
        ({"client_id": " \u200b"}, "client_id"),
    ],
)
def test_an_invalid_cell_is_named_by_its_field(change: dict[str, str], field: str) -> None:
    cells = {"client_id": "c1", "type": "email", "value": "a@example.com", **change}

    with pytest.raises(InvalidFields) as raised:
        csv_rows.parse_cells(cells, RULES, now=NOON)

    assert [violation.field for violation in raised.value.violations] == [field]


def test_formulas_are_written_unchanged_and_columns_of_the_service_ignored() -> None:
    formula = record(type=ContactMethodType.OTHER, value=ContactValue("=1+1", "=1+1"))

    source = CsvSource(io.BytesIO(export_of(formula)))
    (numbered,) = source.rows(RULES, NOON)

    assert isinstance(numbered.row, Row)
    assert numbered.row.record.value.text == "=1+1"
    assert source.notes[0].startswith("columns ignored: id, normalized_value, verified_at, created_at, updated_at. ")


@pytest.mark.parametrize(
    ("named", "file_name", "chosen"),
    [
        (None, "list.csv", FileFormat.CSV),
        (None, "LIST.CSV", FileFormat.CSV),
        (None, "backup.jsonl", FileFormat.JSON_LINES),
        (None, "backup", FileFormat.JSON_LINES),
        (None, "-", FileFormat.JSON_LINES),
        ("jsonl", "list.csv", FileFormat.JSON_LINES),
        ("csv", "backup.jsonl", FileFormat.CSV),
    ],
)
def test_the_format_is_the_named_one_or_that_of_the_extension(
    named: str | None, file_name: str, chosen: FileFormat
) -> None:
    assert FileFormat.chosen(named, file_name) is chosen
