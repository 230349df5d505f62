from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.cli.transfer import progress_bar
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import InvalidFields
from contactsvc.transfer import formats
from contactsvc.transfer.exporter import CsvSink, JsonLinesSink
from contactsvc.transfer.formats import Header, NotOurFormat, Row
from contactsvc.transfer.sources import CsvList, JsonLines

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RULES = ValueRules()


def record(id_: str = "contact_1", **fields: Any) -> ContactMethod:
    whole: dict[str, Any] = {
        "id": id_,
        "client_id": "c1",
        "type": ContactMethodType.EMAIL,
        "value": ContactValue("Ana@example.com", "ana@example.com"),
        "label": None,
        "is_primary": False,
        "verified_at": None,
        "external_id": None,
        "metadata": {},
        "created_at": NOON,
        "updated_at": NOON,
        "etag": "",
        **fields,
    }
    return ContactMethod(**whole)


def single_line(most: int) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cc", "Cs"])
    return st.text(letters, min_size=1, max_size=most)


TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
# Metadata values may have line breaks and every other control character.
PAIRS = st.dictionaries(
    st.text("abcXYZ09_.:-", min_size=1, max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=500),
    max_size=4,
)
TEXTS = single_line(512).map(str.strip).filter(bool)
RECORDS = st.builds(
    record,
    single_line(128),
    client_id=single_line(128),
    type=st.sampled_from(ContactMethodType),
    value=st.builds(ContactValue, TEXTS, st.none() | TEXTS),
    label=st.none() | single_line(100),
    is_primary=st.booleans(),
    verified_at=st.none() | TIMES,
    external_id=st.none() | single_line(255),
    metadata=PAIRS,
    created_at=TIMES,
    updated_at=TIMES,
)


@given(RECORDS)
def test_a_line_gives_back_exactly_its_record(stored: ContactMethod) -> None:
    line = formats.record_line(stored)

    assert line.count(b"\n") == 1
    assert formats.to_row(line, RULES) == Row(record=stored, is_exact=True)


@given(RECORDS.map(lambda stored: replace(stored, type=ContactMethodType.OTHER)))
def test_csv_gives_back_what_a_list_may_say(stored: ContactMethod) -> None:
    line = formats.csv_bytes(formats.csv_line(stored)).decode()

    (cells,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    names = [*formats.SET_BY_THE_SERVICE, *formats.CSV_COLUMNS]
    read = formats.to_listed(dict(zip(names, cells, strict=True)), RULES, now=NOON).record

    for name in ("client_id", "type", "label", "is_primary", "external_id", "metadata"):
        assert getattr(read, name) == getattr(stored, name)
    assert read.value.text == stored.value.text


def test_a_list_always_gets_the_same_ids() -> None:
    cells = {"client_id": "c1", "type": "phone", "value": "+52 55 1234 5678"}

    ids = [
        formats.to_listed(given_cells, RULES, now=NOON).record.id
        for given_cells in (
            cells,
            {**cells, "value": "+525512345678", "label": "Desk"},
            {**cells, "external_id": "crm-1"},
            {**cells, "external_id": "crm-1", "value": "+52 55 1234 0000"},
            {**cells, "client_id": "c2"},
        )
    ]

    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4]
    assert all(len(id_) == len("contact_") + 26 for id_ in ids)


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
        ({"metadata": []}, "metadata"),
        ({"created_at": "2026-01-02T12:00:00"}, "created_at"),
        ({"updated_at": "yesterday"}, "updated_at"),
        ({"verified_at": None}, "verified_at"),
        ({"id": ""}, "id"),
        ({"normalized_value": "a\0"}, "normalized_value"),
        ({"normalized_value": "x" * 1537}, "normalized_value"),
        # In UTC it is before year 1.
        ({"created_at": "0001-01-01T00:00:00.000+01:00"}, "created_at"),
        ({"somebody": "somebody"}, "record"),
    ],
)
def test_what_breaks_a_rule_is_named_without_its_content(change: dict[str, Any], field: str) -> None:
    line = json.dumps({**json.loads(formats.record_line(record())), **change}).encode()

    with pytest.raises(InvalidFields) as raised:
        formats.to_row(line, RULES)

    assert {violation.field for violation in raised.value.violations} == {field}
    assert "somebody" not in str(raised.value)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"7"])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidFields):
        formats.to_row(line, RULES)


def test_a_normal_form_may_be_three_times_as_long_as_its_value() -> None:
    stored = record(type=ContactMethodType.OTHER, value=RULES.read(ContactMethodType.OTHER, "\ufb2c" * 512))

    assert len(stored.value.normalized or "") == 3 * len(stored.value.text)
    assert formats.to_row(formats.record_line(stored), RULES).record == stored


@pytest.mark.parametrize("version", ["somebody", 2, True, None, {"somebody": 1}])
def test_a_header_of_another_format_is_refused_without_its_content(version: Any) -> None:
    line = json.loads(formats.header_line(Header("live", NOON)))

    with pytest.raises(NotOurFormat) as raised:
        formats.to_header(json.dumps({**line, "contactsvc_export": version}).encode())

    assert "somebody" not in str(raised.value)
    assert ("format 2" in str(raised.value)) is (version == 2)


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
def test_a_faulty_row_is_named_by_its_id_if_that_could_be_one(line: bytes, id_: str) -> None:
    header, total = formats.header_line(Header("live", NOON)), formats.Sum()
    total.header(header)
    total.record(line + b"\n")
    file = io.BytesIO(header + line + b"\n" + total.trailer())

    (numbered,) = JsonLines(file).rows(RULES, NOON)

    assert isinstance(numbered.row, InvalidFields)
    assert numbered.id == id_


def test_a_value_without_its_normal_form_is_read_by_the_rules() -> None:
    line = json.loads(formats.record_line(record(value=ContactValue("nobody", None))))

    kept = formats.to_row(json.dumps(line).encode(), RULES).record
    del line["normalized_value"]

    assert kept.value == ContactValue("nobody", None)
    with pytest.raises(InvalidFields):
        formats.to_row(json.dumps(line).encode(), RULES)
    lenient = formats.to_row(json.dumps({**line, "value": "Ana@Example.com"}).encode(), RULES).record
    assert lenient.value.normalized == "ana@example.com"


def exported(path: Path, *records: ContactMethod, changed_from: datetime = NOON + timedelta(days=1)) -> list[bytes]:
    with path.open("wb") as file:
        sink = JsonLinesSink(file)
        sink.begin(Header("live", changed_from))
        for one in records:
            sink.put(one)
        sink.end()
    return path.read_bytes().splitlines(keepends=True)


def rows_of(path: Path) -> list[ContactMethod]:
    rows = [numbered.row for numbered in JsonLines(io.BytesIO(path.read_bytes())).rows(RULES, NOON)]
    return [row.record for row in rows if isinstance(row, Row)]


def test_a_file_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = exported(path, record("a"), record("b"))
    whole = b"".join(lines)
    bad = [
        *(whole[:size] for size in range(len(whole))),
        lines[0] + lines[2] + lines[3],
        lines[0] + lines[2] + lines[1] + lines[3],
        whole + lines[1],
        whole.replace(b"Ana", b"Eva", 1),
        whole.replace(b'export":1', b'export":2'),
        lines[0].ljust(1 << 20, b" "),
    ]

    assert [one.id for one in rows_of(path)] == ["a", "b"]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(NotOurFormat):
            JsonLines(io.BytesIO(path.read_bytes()))


def test_what_was_changed_during_an_export_counts_as_it_is_last(tmp_path: Path) -> None:
    later = NOON + timedelta(seconds=1)
    exported(
        tmp_path / "a.jsonl",
        record("demoted", is_primary=True),
        # Deleted after it was read: no later line says so.
        record("deleted", client_id="c2", is_primary=True),
        record("demoted", updated_at=later),
        record("promoted", updated_at=later, is_primary=True),
        record("heir", client_id="c2", updated_at=later, is_primary=True),
        # It was primary for a moment only.
        record("moment", client_id="c3", updated_at=later, is_primary=True),
        record("moment", client_id="c3", updated_at=later + timedelta(seconds=1)),
        record("quiet", client_id="c3", is_primary=True),
        changed_from=later,
    )

    rows = rows_of(tmp_path / "a.jsonl")

    assert [(row.id, row.is_primary) for row in rows] == [
        ("deleted", False),
        ("demoted", False),
        ("promoted", True),
        ("heir", True),
        ("moment", False),
        ("quiet", True),
    ]


def test_an_external_id_that_moves_to_a_new_record_during_an_export_is_that_of_the_new_one(tmp_path: Path) -> None:
    later = NOON + timedelta(seconds=1)
    exported(
        tmp_path / "a.jsonl",
        # Deleted after it was read: no later line says so.
        record("deleted", external_id="crm-1"),
        record("gave up", external_id="crm-2"),
        record("anew", external_id="crm-1", updated_at=later),
        record("taker", external_id="crm-2", updated_at=later),
        record("gave up", updated_at=later),
        changed_from=later,
    )

    rows = rows_of(tmp_path / "a.jsonl")

    assert [(row.id, row.external_id) for row in rows] == [
        ("deleted", None),
        ("anew", "crm-1"),
        ("taker", "crm-2"),
        ("gave up", None),
    ]


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
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(NotOurFormat):
        list(CsvList(io.BytesIO(path.read_bytes())).rows(RULES, NOON))


def test_a_list_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfclient_id, type ,value,is_primary,metadata,metadata.city\r\n"
        b'c1,EMAIL,a@example.com,TRUE,"{""a"":""b""}","M\xc3\xa9xico\nDF"\r\n,,,,,\r\nc1,email\r\n'
    )

    first, second = (numbered.row for numbered in CsvList(io.BytesIO(path.read_bytes())).rows(RULES, NOON))

    assert isinstance(first, Row)
    assert first.record.is_primary
    assert first.record.metadata == {"a": "b", "city": "México\nDF"}
    assert isinstance(second, InvalidFields)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("client_id;type;value\nc1;email;a@example.com\n", "separated by commas"),
        ("client_id,type,value\rc1,email,a@example.com\r", "line ends LF or CRLF"),
        ("client_id,type,value\r" + "c1,email,a@example.com\r" * 50_000, "line ends LF or CRLF"),
        ("client_id,type,value,somebody\n", "column 4 is none that is known"),
    ],
)
def test_a_list_that_was_saved_in_another_way_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotOurFormat) as raised:
        list(CsvList(io.BytesIO(text.encode())).rows(RULES, NOON))

    assert reason in str(raised.value)
    assert "somebody" not in str(raised.value)


def test_empty_columns_at_the_end_of_a_list_are_left_out() -> None:
    text = b"client_id,type,value,,\nc1,email,a@example.com,,\nc1,email,b@example.com\nc1,email,c@example.com,,oops\n"

    rows = [numbered.row for numbered in CsvList(io.BytesIO(text)).rows(RULES, NOON)]

    assert [isinstance(row, Row) for row in rows] == [True, True, False]


def test_a_progress_bar_is_not_continued_by_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with progress_bar("importing") as (progress, tell):
        progress(1, 2)
        tell("line 2: first")
        tell("line 3: second")

    assert "\nline 2: first\nline 3: second\n" in terminal.getvalue()


def test_formulas_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    formula = record(type=ContactMethodType.OTHER, value=ContactValue("=1+1", "=1+1"))

    with path.open("wb") as file:
        sink = CsvSink(file)
        sink.begin(Header("live", NOON))
        sink.put(formula)
        sink.end()

    source = CsvList(io.BytesIO(path.read_bytes()))
    (numbered,) = source.rows(RULES, NOON)
    assert isinstance(numbered.row, Row)
    assert numbered.row.record.value.text == "=1+1"
    assert "not read: id, normalized_value" in source.notes[0]
