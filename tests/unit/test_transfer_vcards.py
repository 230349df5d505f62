from __future__ import annotations

import io
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.formats import FileFormat
from contactsvc.transfer.sources import Row
from contactsvc.transfer.vcards import VcardSink, VcardSource
from tests.unit.transfer_records import NOON, record

LENIENT = ValueRules(lenient=True)


def export_of(*records: ContactMethod) -> bytes:
    file = io.BytesIO()
    sink = VcardSink(file)
    sink.begin(ExportHeader("live", NOON))
    for one in records:
        sink.put(one)
    sink.end()
    return file.getvalue()


def records_of(content: bytes) -> list[ContactMethod]:
    rows = [numbered.row for numbered in VcardSource(io.BytesIO(content)).rows(LENIENT, NOON)]
    assert all(isinstance(row, Row) for row in rows)
    return [row.record for row in rows if isinstance(row, Row)]


def said(one: ContactMethod) -> tuple[object, ...]:
    """Return what a vCard can say of a record."""
    return one.client_id, one.type, one.value.text, one.label, one.is_primary


def _texts(most: int) -> st.SearchStrategy[str]:
    # Surrogates, control characters, and what an import trims.
    letters = st.characters(exclude_categories=["Cc", "Cs"])
    return st.text(letters | st.sampled_from('\\,;:"=._$!<>é'), min_size=1, max_size=most).map(trim).filter(bool)


@st.composite
def _stored(draw: st.DrawFn) -> list[ContactMethod]:
    """Return records that the service can hold: values of a slot differ, and it has one primary at most."""
    made: list[ContactMethod] = []
    seen: set[tuple[str, str, str]] = set()
    for number in range(draw(st.integers(1, 8))):
        type_ = draw(st.sampled_from(ContactMethodType))
        value = LENIENT.read(type_, draw(_texts(80)))
        client_id = draw(st.sampled_from(["c1", "c2"]) | _texts(128))
        key = client_id, type_.value, value.normalized or value.text
        if key in seen:
            continue
        seen.add(key)
        is_free = not any(one.slot == (client_id, type_) and one.is_primary for one in made)
        made.append(
            record(
                f"contact_{number}",
                client_id=client_id,
                type=type_,
                value=value,
                label=draw(st.none() | _texts(100)),
                is_primary=is_free and draw(st.booleans()),
            )
        )
    return made


@given(_stored())
def test_an_import_reads_back_what_a_vcard_can_say(stored: list[ContactMethod]) -> None:
    read = records_of(export_of(*stored))

    assert sorted(map(said, read), key=repr) == sorted(map(said, stored), key=repr)


def test_of_a_record_that_changed_during_the_export_the_last_state_counts() -> None:
    first, other = record("contact_1", is_primary=True), record("contact_2", type=ContactMethodType.PHONE)
    last = replace(first, label="Work", is_primary=False)

    read = records_of(export_of(first, other, last))

    assert [said(one) for one in read] == [said(last), said(other)]


def test_an_export_has_a_card_for_each_client() -> None:
    phone, fax, other = ContactMethodType.PHONE, ContactMethodType.FAX, ContactMethodType.OTHER

    exported = export_of(
        record("contact_1", client_id="c2", type=other, value=ContactValue("@ana", "@ana"), is_primary=True),
        record("contact_2", label="Home", is_primary=True),
        record("contact_3", client_id="c2", type=phone, value=ContactValue("ask, or 1;2", None), label="Desk; 2nd"),
        record("contact_4", type=fax, value=ContactValue("+52 55 1234 5602", "+525512345602"), label="Mobile"),
    )

    assert exported.decode().split("\r\n") == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "UID:c1",
        "FN:c1",
        "N:;;;;",
        "item1.EMAIL;TYPE=internet,home,pref:Ana@example.com",
        "item1.X-ABLabel:Home",
        "item2.TEL;TYPE=fax,cell:+52 55 1234 5602",
        "item2.X-ABLabel:Mobile",
        "END:VCARD",
        "BEGIN:VCARD",
        "VERSION:3.0",
        "UID:c2",
        "FN:c2",
        "N:;;;;",
        "X-CONTACTSVC-OTHER;TYPE=pref:@ana",
        r"item2.TEL:ask\, or 1\;2",
        r"item2.X-ABLabel:Desk\; 2nd",
        "END:VCARD",
        "",
    ]


def test_an_export_of_nothing_is_empty() -> None:
    assert export_of() == b""


def test_a_full_temporary_directory_ends_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> sqlite3.Connection:
        connection = sqlite3.Connection(":memory:", isolation_level=None)
        connection.execute("pragma max_page_count = 4")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)

    with pytest.raises(OSError, match=r"temporary file failed \(SQLITE_FULL\); set TMPDIR"):
        export_of(*[record(f"contact_{number}") for number in range(1_000)])


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("a.vcf", "vcard"), ("A.VCARD", "vcard"), ("a.csv", "csv"), ("a.jsonl", "jsonl"), ("a.txt", "jsonl")],
)
def test_the_extension_chooses_the_format(name: str, chosen: str) -> None:
    assert FileFormat.chosen(None, name) == chosen


@pytest.mark.parametrize(
    ("line", "type_", "label"),
    [
        ("TEL;TYPE=work,cell:+525512345678", "phone", "Work mobile"),
        ("TEL;TYPE=voice:+525512345678", "phone", None),
        ("TEL;TYPE=pager:+525512345678", "phone", "Pager"),
        ("TEL;TYPE=home,fax:+525512345678", "fax", "Home"),
        ("EMAIL;TYPE=internet,home:ana@example.com", "email", "Home"),
        ("EMAIL;TYPE=fax:ana@example.com", "email", None),
        ("IMPP:sip:ana@example.com", "other", None),
    ],
)
def test_types_make_type_and_label(line: str, type_: str, label: str | None) -> None:
    (read,) = records_of(f"BEGIN:VCARD\nVERSION:3.0\nUID:c1\n{line}\nEND:VCARD\n".encode())

    assert (read.type, read.label) == (type_, label)
