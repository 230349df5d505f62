"""Contact methods as MongoDB documents, one each.

`_FIELDS` is the layout, and `SCHEMA_VERSION` (layouts.py) its version: writing, reading and the check for invalid
fields derive from that table. Beside these fields a document has schema_version and, if there are any, idempotency
records; those of other requests lie in documents of their own, see idempotency_records.py. Layout 1 differs only in
that primary_key may be absent; see migrations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import repeat
from operator import attrgetter
from types import NoneType
from typing import Any, Final

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Slot
from contactsvc.domain.normalization import written_form
from contactsvc.domain.verification import Challenge
from contactsvc.store.drivers import Document
from contactsvc.store.idempotency_records import idempotency_fields, to_idempotency_records
from contactsvc.store.layouts import MALFORMED, SCHEMA_VERSION, UnreadableDocument, unreadable


def value_key(type_: ContactMethodType, normalized: str) -> str:
    """Return the indexed form of a type and a normalized value."""
    # Concatenation: a format string costs half as much again with an enum.
    return type_ + ":" + normalized


def written_key(type_: ContactMethodType, written: str) -> str:
    """Return the indexed form of a type and the written form of a value without a normal form."""
    return type_ + ":" + written


def primary_key(slot: Slot) -> str:
    """Return the indexed form of a primary slot."""
    client_id, type_ = slot
    return type_ + ":" + client_id


def metadata_pair(key: str, value: str) -> str:
    """Return the indexed form of a metadata pair."""
    return f"{key}={value}"


def _written_type(record: ContactMethod) -> str:
    # An exact str: BSON takes longer over a subclass.
    return str(record.type)


def _written_value_key(record: ContactMethod) -> str | None:
    normalized = record.value.normalized
    return None if normalized is None else value_key(record.type, normalized)


def _written_written_key(record: ContactMethod) -> str | None:
    return None if record.value.normalized is not None else written_key(record.type, written_form(record.value.text))


def _written_primary_key(record: ContactMethod) -> str | None:
    return primary_key(record.slot) if record.is_primary else None


def _written_metadata(record: ContactMethod) -> list[str]:
    return [metadata_pair(key, value) for key, value in record.metadata.items()]


_TYPES: Final = {str(type_): type_ for type_ in ContactMethodType}


def _read_type(document: Document) -> ContactMethodType:
    return _TYPES[document["type"]]


def _read_value(document: Document) -> ContactValue:
    key = document.get("value_key")
    return ContactValue(document["value"], None if key is None else key.partition(":")[2])


def _read_metadata(document: Document) -> dict[str, str]:
    # An empty mapping, written by hand, reads like an empty array.
    pairs = document["metadata"]
    return {} if pairs == [] else dict([pair.split("=", 1) for pair in pairs])


_CHALLENGE_KINDS: Final = (
    *((name, str) for name in ("id", "secret_id", "etag")),
    *((name, datetime) for name in ("started_at", "sent_at")),
    *((name, int) for name in ("sends", "tries", "is_passed")),
)


def _written_challenge(record: ContactMethod) -> Document | None:
    challenge = record.challenge
    return None if challenge is None else asdict(challenge)


def _read_challenge(document: Document) -> Challenge | None:
    challenge = document.get("challenge")
    if challenge is None:
        return None
    if not all(isinstance(challenge[name], kind) for name, kind in _CHALLENGE_KINDS):
        raise TypeError
    return Challenge(**challenge)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a document.

    Attributes:
        name: its name in the document.
        kinds: the types of its stored value. A field that may be absent allows NoneType, and null reads like absent.
            `object` where `read` does the check, or nothing reads the field.
        attribute: the attribute of ContactMethod that it gives; empty for fields that only an index needs.
        write: returns the value to store, None to leave the field out; by default the attribute.
        read: returns the attribute's value for a document; by default the stored value. Raises one of MALFORMED.
    """

    name: str
    kinds: type | tuple[type, ...]
    attribute: str = ""
    write: Callable[[ContactMethod], object] | None = None
    read: Callable[[Document], object] | None = None


_OPTIONAL_STRING: Final = (str, NoneType)
_OPTIONAL_TIME: Final = (datetime, NoneType)

_FIELDS: Final = (
    _Field("_id", str, "id"),
    _Field("client_id", str, "client_id"),
    _Field("type", object, "type", _written_type, _read_type),
    _Field("value", str, "value", attrgetter("value.text"), _read_value),
    # Always there: the partial unique index on the primary slot tests its value.
    _Field("is_primary", bool, "is_primary"),
    # ["key=value", ...]; keys contain no "=". Strings, so that one plain index finds every pair.
    _Field("metadata", object, "metadata", _written_metadata, _read_metadata),
    _Field("created_at", datetime, "created_at"),
    _Field("updated_at", datetime, "updated_at"),
    _Field("etag", str, "etag"),
    # "<type>:<normalized value>"; absent when the value could not be parsed. One string, so that a lookup of a phone by
    # index finds no record of another type with the same text.
    _Field("value_key", _OPTIONAL_STRING, "", _written_value_key),
    # "<type>:<written form>"; present only when the value could not be parsed, for lookups by the text.
    _Field("written_key", object, "", _written_written_key),
    # "<type>:<client id>" of a primary: one string, so that one plain index finds the primaries of several slots.
    _Field("primary_key", object, "", _written_primary_key),
    _Field("label", _OPTIONAL_STRING, "label"),
    # Absent rather than null: the sparse unique index tests its presence.
    _Field("external_id", _OPTIONAL_STRING, "external_id"),
    _Field("verified_at", _OPTIONAL_TIME, "verified_at"),
    _Field("verification_method", _OPTIONAL_STRING, "verification_method"),
    # Its etag guards writes of the whole document (writes.py), so that none takes a counted try back.
    _Field("challenge", object, "challenge", _written_challenge, _read_challenge),
)

# Derived forms of the table: `from_document` is part of every call, and a loop over the rows would be slower.
_PLAIN: Final = [row for row in _FIELDS if row.attribute and row.read is None]
_CHECKED: Final = [*_PLAIN, *(row for row in _FIELDS if row not in _PLAIN and row.kinds is not object)]
_CHECKED_NAMES: Final = tuple(row.name for row in _CHECKED)
_CHECKED_KINDS: Final = tuple(row.kinds for row in _CHECKED)
_PLAIN_ATTRIBUTES: Final = tuple(row.attribute for row in _PLAIN)
_READERS: Final = tuple((row.attribute, row.read) for row in _FIELDS if row.read is not None)
_WRITERS: Final = tuple((row.name, row.write or attrgetter(row.attribute)) for row in _FIELDS)


def to_document(record: ContactMethod) -> Document:
    """Return the document of a record."""
    document: Document = {name: value for name, write in _WRITERS if (value := write(record)) is not None}
    document["schema_version"] = SCHEMA_VERSION
    if record.requests:
        document |= idempotency_fields(record.requests)
    return document


def from_document(document: Document) -> ContactMethod:
    """Return the record of a document of any layout that this release reads; so far they read alike.

    Raises:
        UnreadableDocument: a field is missing or invalid.
    """
    stored = [*map(document.get, _CHECKED_NAMES)]
    if not all(map(isinstance, stored, _CHECKED_KINDS)):
        raise unreadable(document)
    # The work of ContactMethod's generated constructor, which checks nothing, at less than half its cost.
    record = object.__new__(ContactMethod)
    set_attribute: Any = object.__setattr__
    for _ in map(set_attribute, repeat(record), _PLAIN_ATTRIBUTES, stored):
        pass
    try:
        for attribute, read in _READERS:
            set_attribute(record, attribute, read(document))
    except MALFORMED:
        # Without the cause, which may quote the document.
        raise unreadable(document) from None
    set_attribute(record, "requests", to_idempotency_records(document))
    return record


def is_contact_method(document: Document) -> bool:
    """Return whether the document is a contact method, and no idempotency document."""
    return "client_id" in document


def to_records(documents: Iterable[Document]) -> list[ContactMethod]:
    """Return the records among the documents."""
    return [from_document(document) for document in documents if is_contact_method(document)]


def current_primary_key(document: Document) -> Document:
    """Return the field primary_key as it should be in a document; empty if the document is not a primary."""
    if not document.get("is_primary"):
        return {}
    return {"primary_key": primary_key((document["client_id"], ContactMethodType(document["type"])))}


def invalid_fields(document: Document) -> tuple[str, ...]:
    """Return the names of the fields that make a document unreadable, unless its layout is newer.

    For a contact method they are what `from_document` rejects, for an idempotency document what
    `to_idempotency_records` rejects. Empty for a readable document.
    """
    names = [row.name for row in _FIELDS if not _is_valid(row, document)] if is_contact_method(document) else []
    try:
        to_idempotency_records(document)
    except UnreadableDocument:
        names.append("requests")
    return tuple(names)


def _is_valid(row: _Field, document: Document) -> bool:
    if row.kinds is not object or row.read is None:
        return isinstance(document.get(row.name), row.kinds)
    try:
        row.read(document)
    except MALFORMED:
        return False
    return True
