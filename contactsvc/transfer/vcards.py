"""vCard files: cards of address books (versions 3.0 and 4.0), and exports for them (version 3.0).

A card is a client. docs/imports.md states what is read and written, and what a vCard cannot express.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import IO, Final

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer.content_lines import ContentLine, content_line, read_content_lines
from contactsvc.transfer.entries import Entry, EntryMethod
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.sources import NumberedRow, UnreadableFile

_OTHER: Final = "X-CONTACTSVC-OTHER"
_LABEL: Final = "X-ABLABEL"
_METHODS: Final[Mapping[str, ContactMethodType]] = {
    "EMAIL": ContactMethodType.EMAIL,
    "TEL": ContactMethodType.PHONE,
    "IMPP": ContactMethodType.OTHER,
    _OTHER: ContactMethodType.OTHER,
}
_PROPERTIES: Final[Mapping[ContactMethodType, str]] = {
    ContactMethodType.EMAIL: "EMAIL",
    ContactMethodType.PHONE: "TEL",
    ContactMethodType.FAX: "TEL",
    ContactMethodType.OTHER: _OTHER,
}
_WANTED: Final = frozenset({"BEGIN", "END", "VERSION", "UID", _LABEL, *_METHODS})
_VERSIONS: Final = ("3.0", "4.0")
_MAX_METHODS: Final = 1_000
_MAX_NAMED_PROPERTIES: Final = 30

# Apple's address book marks its own labels.
_OWN_LABEL: Final = ("_$!<", ">!$_")
# In the order in which they make a label: "Work mobile".
_TYPE_WORDS: Final[Mapping[str, str]] = {
    "home": "home",
    "work": "work",
    "main": "main",
    "other": "other",
    "cell": "mobile",
    "mobile": "mobile",
    "car": "car",
    "pager": "pager",
    "video": "video",
    "textphone": "textphone",
}
_LABEL_TYPES: Final = {"home": "home", "work": "work", "mobile": "cell", "pager": "pager", "car": "car"}

_TABLE: Final = "create table records (id text primary key, client_id text, record text)"


@dataclass(slots=True)
class _Card:
    """A card of a file.

    Attributes:
        line: the line of its BEGIN.
        number: its place in the file, from 1.
        uid: its UID, empty for none.
        methods: its properties with contact values.
        labels: the labels by group.
        ignored: the names of its other properties.
        version: its version.
    """

    line: int
    number: int
    uid: str = ""
    methods: list[ContentLine] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    version: str = ""

    def add(self, line: ContentLine) -> None:
        """Add a property; raise UnreadableFile."""
        match line.name:
            case "VERSION":
                self.version = line.text.strip()
            case "UID":
                self.uid = trim(line.text)
            case name if name == _LABEL:
                self.labels[line.group] = _plain_label(line.text)
            case name if name in _METHODS:
                self.methods.append(line)
                if len(self.methods) > _MAX_METHODS:
                    raise UnreadableFile(f"line {line.number}: a card has more than {_MAX_METHODS:,} contact methods")
            case name:
                self.ignored.add(name)

    def check(self) -> None:
        """Raise UnreadableFile when the card has another version."""
        if self.version not in _VERSIONS:
            # It may be anything, and is quoted only when it is known.
            found = "vCard 2.1" if self.version == "2.1" else "vCard without a known VERSION"
            raise UnreadableFile(
                f"line {self.line}: card {self.number} is {found}; export it as vCard {' or '.join(_VERSIONS)}"
            )


class VcardSource:
    """Reads the cards of an address book.

    Args:
        file: a regular file, which the caller closes.
        client_id: the client of cards without UID.

    Raises:
        UnreadableFile: the file is not vCard 3.0 or 4.0, or a card is incomplete or malformed.
        OSError: reading failed.
    """

    environment: str | None = None

    def __init__(self, file: IO[bytes], *, client_id: str | None = None) -> None:
        self._file = file
        self._client_id = client_id
        self.notes: list[str] = []
        ignored: set[str] = set()
        without_value = without_uid = 0
        for card in _cards(file):
            ignored |= card.ignored
            without_value += not card.methods
            without_uid += bool(card.methods) and not card.uid
        if ignored:
            names = sorted(ignored)
            more = len(names) - _MAX_NAMED_PROPERTIES
            end = f" and {more} more" if more > 0 else ""
            self.notes.append(f"properties ignored: {', '.join(names[:_MAX_NAMED_PROPERTIES])}{end}")
        if without_value:
            self.notes.append(f"cards without a contact method, left out: {without_value}")
        if without_uid and client_id is not None:
            self.notes.append(f"cards without UID, imported as the client of --client-id: {without_uid}")

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the contact methods of the cards."""
        self._file.seek(0)
        for card in _cards(self._file):
            if not card.methods:
                continue
            client_id = card.uid or self._client_id
            if client_id is None:
                violation = FieldViolation(
                    f"card {card.number}", "has no UID, which is the client id; name the client with --client-id"
                )
                yield NumberedRow(card.line, InvalidFields([violation]), self._file.tell(), "")
                continue
            entry = Entry(
                client_id=client_id,
                client_name="UID" if card.uid else "--client-id",
                methods=[_method(line, card.labels) for line in card.methods],
                position=self._file.tell(),
            )
            yield from entry.rows(rules, now)


class VcardSink:
    """Writes a card for each client, in the order of the client ids.

    Records wait in a temporary file, since an export comes in another order, and changed records come again.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        # An empty name is a temporary file that SQLite deletes on close.
        self._records = sqlite3.connect("", isolation_level=None)
        weakref.finalize(self, self._records.close)

    def begin(self, header: ExportHeader) -> None:
        """Prepare the temporary file."""
        del header
        with _temporary_file():
            self._records.execute(_TABLE)
            self._records.execute("begin")

    def put(self, record: ContactMethod) -> None:
        """Keep a record, instead of an earlier state of it."""
        with _temporary_file():
            self._records.execute(
                "insert into records values (?, ?, ?) on conflict (id) do update set record = excluded.record",
                (record.id, record.client_id, _kept(record)),
            )

    def end(self) -> None:
        """Write the cards."""
        with _temporary_file():
            rows = self._records.execute("select client_id, record from records order by client_id, rowid")
            for client_id, records in groupby(rows, key=itemgetter(0)):
                self._write_card(client_id, [json.loads(record) for _, record in records])
        self._records.close()

    def _write_card(self, client_id: str, records: Iterable[tuple[str, list[str], str, str | None]]) -> None:
        write = self._file.write
        write(b"BEGIN:VCARD\r\nVERSION:3.0\r\n")
        write(content_line("UID", client_id))
        # A card must have FN and N. The service has no names; people search for the client id.
        write(content_line("FN", client_id))
        write(b"N:;;;;\r\n")
        for number, (name, types, value, label) in enumerate(records, 1):
            group = "" if label is None else f"item{number}"
            write(content_line(name, value, types=types, group=group))
            if label is not None:
                write(content_line("X-ABLabel", label, group=group))
        write(b"END:VCARD\r\n")


def _cards(file: IO[bytes]) -> Iterator[_Card]:
    """Yield the cards; raise UnreadableFile."""
    card: _Card | None = None
    number = 0
    for line in read_content_lines(file, _WANTED):
        is_card = line.value.strip().upper() == "VCARD"
        if card is None:
            if line.name != "BEGIN" or not is_card:
                raise UnreadableFile(f"line {line.number} is outside of a card: BEGIN:VCARD expected")
            number += 1
            card = _Card(line.number, number)
        elif line.name == "BEGIN":
            raise UnreadableFile(f"line {line.number}: card {number} begins another one before its END:VCARD")
        elif line.name == "END":
            if not is_card:
                raise UnreadableFile(f"line {line.number}: END:VCARD expected")
            card.check()
            yield card
            card = None
        else:
            card.add(line)
    if card is not None:
        raise UnreadableFile(f"line {card.line}: card {number} has no END:VCARD; the file is truncated")
    if number == 0:
        raise UnreadableFile("the file has no vCard")


def _method(line: ContentLine, labels: Mapping[str, str]) -> EntryMethod:
    types = line.types
    is_preferred = "pref" in types or line.parameters.get("PREF") == ("1",)
    is_uri = line.name == "IMPP" or "uri" in (value.lower() for value in line.parameters.get("VALUE", ()))
    label = labels.get(line.group, "") if line.group else ""
    return EntryMethod(
        line=line.number,
        type=ContactMethodType.FAX if line.name == "TEL" and "fax" in types else _METHODS[line.name],
        value=line.value if is_uri else line.text,
        label=label or _label_of_types(types),
        is_marked=is_preferred,
        may_be_primary=is_preferred,
        value_name=line.name,
        label_name=_LABEL,
    )


def _kept(record: ContactMethod) -> str:
    """Return what the card states about a record: property, types, value and label."""
    label = record.label
    types = ["internet"] if record.type is ContactMethodType.EMAIL else []
    if record.type is ContactMethodType.FAX:
        types.append("fax")
    if label is not None and (known := _LABEL_TYPES.get(label.casefold())) is not None:
        types.append(known)
    if record.is_primary:
        types.append("pref")
    if label is not None and _plain_label(label) != label:
        # Read back, it loses one pair of marks.
        label = label.join(_OWN_LABEL)
    return json.dumps([_PROPERTIES[record.type], types, record.value.text, label])


@contextmanager
def _temporary_file() -> Iterator[None]:
    """Raise what ends the use of the temporary file as OSError, which the export reports."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(
            errno.EIO,
            f"temporary file failed ({error.sqlite_errorname}); set TMPDIR to a directory with enough space",
        ) from error


def _plain_label(text: str) -> str:
    start, end = _OWN_LABEL
    return text[len(start) : -len(end)] if text.startswith(start) and text.endswith(end) else text


def _label_of_types(types: frozenset[str]) -> str:
    words = dict.fromkeys(word for type_, word in _TYPE_WORDS.items() if type_ in types)
    return " ".join(words).capitalize()
