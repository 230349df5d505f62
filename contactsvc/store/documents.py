"""Contact methods as MongoDB documents, one each, and back.

_id            the id
client_id      the client
type           "email", "phone", "fax", "other"
value          as people write it
value_key      "<type>:<normalized value>"; absent when the value could not be parsed. One string, so that one index
               answers a lookup that means a phone but no other record of the same text
label          absent when there is none
is_primary     always there, since the partial unique index looks at it
primary_key    "<type>:<client id>" of a primary, absent otherwise: one string, so that the primaries of several slots
               are found by one plain index
verified_at    absent when unverified
external_id    absent when there is none, since the sparse unique index looks at its presence
metadata       ["key=value", ...]; no key has a "=". Strings, because every pair is found by one plain index
created_at, updated_at, etag
request_ids    of the requests that this document remembers, for the unique index; absent when there are none
requests       what it remembers of them: mark, time and outcomes
schema_version of the layout: this one is 2. Layout 1 is the same without primary_key, or with it; see migrations.py

What is absent may be null as well where a hand has written it: both are read as nothing. What else is read, and of what
kind it must be, is said here and nowhere else, for the service and for doctor.

A request that wrote one record is remembered in that record, so that it took one write. Others are remembered in
documents that are no contact method, in the same collection so that one unique index covers all. They have only _id,
request_ids, requests, forget_at (when MongoDB may remove them) and schema_version. The document of a deleted record
becomes one of them when it remembers requests; nothing else of the record remains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Final

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord, RequestFingerprint
from contactsvc.domain.ids import is_contact_method_id
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Slot
from contactsvc.domain.outcomes import Action, Applied, Outcome
from contactsvc.errors import ContactsvcError, FieldViolation, SafeToLog
from contactsvc.store.drivers import Document

SCHEMA_VERSION = 2
"""The layout that this release writes, and the newest that it reads."""

_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "_id": str,
    "client_id": str,
    "value": str,
    "is_primary": bool,
    "created_at": datetime,
    "updated_at": datetime,
    "etag": str,
    # As good as absent when it is null.
    "value_key": (str, NoneType),
    "label": (str, NoneType),
    "verified_at": (datetime, NoneType),
    "external_id": (str, NoneType),
}
"""What those fields of a contact method are that are taken as they are. Of type, metadata and requests it shows when
they are read; primary_key is only looked for, and schema_version only compared."""

_NAMES = tuple(_KINDS)
_KINDS_OF_NAMES = tuple(_KINDS.values())
# What the functions below raise when what they read is not what `to_document` writes.
_MALFORMED = (LookupError, ValueError, TypeError, AttributeError)


class UnreadableDocument(SafeToLog):
    """A document is no contact method as this release writes them. A call that meets it ends as INTERNAL.

    The log names it when its id is one that the service makes. Whoever writes a document by hand may make an address
    its id, so that others are for the terminal of an operator only: str() names every id, and so does doctor.
    """

    def __init__(self, document: Document) -> None:
        id_, says = document["_id"], self._says(document)
        super().__init__(f"the document {id_} {says}")
        named = id_ if is_contact_method_id(id_) else "with an id that the service has not made"
        self.for_the_log = f"the document {named} {says}"

    def _says(self, document: Document) -> str:
        return "cannot be read; `contactsvc doctor` says what it lacks"


class UnknownLayout(UnreadableDocument):
    """A document has a newer layout than this release knows; it is neither read nor written."""

    def _says(self, document: Document) -> str:
        return (
            f"has layout {document['schema_version']}, which a newer release has written, and this one knows no layout "
            f"after {SCHEMA_VERSION}; run the newer release"
        )


def is_of_newer_layout(document: Document) -> bool:
    """Tell whether a newer release has written the document."""
    version = document.get("schema_version")
    return isinstance(version, int | float) and version > SCHEMA_VERSION


def value_key(type_: ContactMethodType, normalized: str) -> str:
    """Return the indexed form of a type and a normalized value."""
    return f"{type_.value}:{normalized}"


def primary_key(slot: Slot) -> str:
    """Return the indexed form of a primary slot."""
    client_id, type_ = slot
    return f"{type_.value}:{client_id}"


def metadata_pair(key: str, value: str) -> str:
    """Return the indexed form of a metadata pair."""
    return f"{key}={value}"


def found_as_primary(document: Document) -> Document:
    """Return the field by which a document is found as the primary that it is; nothing when it is none."""
    if not document.get("is_primary"):
        return {}
    return {"primary_key": primary_key((document["client_id"], ContactMethodType(document["type"])))}


def to_document(record: ContactMethod) -> Document:
    """Return the document of a record."""
    document: Document = {
        "_id": record.id,
        "client_id": record.client_id,
        "type": record.type.value,
        "value": record.value.text,
        "is_primary": record.is_primary,
        "metadata": [metadata_pair(key, value) for key, value in record.metadata.items()],
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "etag": record.etag,
        "schema_version": SCHEMA_VERSION,
    }
    if record.value.normalized is not None:
        document["value_key"] = value_key(record.type, record.value.normalized)
    for name, value in (
        ("primary_key", primary_key(record.slot) if record.is_primary else None),
        ("label", record.label),
        ("external_id", record.external_id),
        ("verified_at", record.verified_at),
    ):
        if value is not None:
            document[name] = value
    if record.requests:
        document |= _remembering(record.requests)
    return document


def to_memory(requests: Sequence[IdempotencyRecord]) -> Document:
    """Return a document that remembers requests and is no contact method."""
    forget_at = max(request.forget_at for request in requests)
    return {**_remembering(requests), "forget_at": forget_at, "schema_version": SCHEMA_VERSION}


def remembering_only(requests: Sequence[IdempotencyRecord]) -> Document:
    """Return the update that makes a document remember these requests and no others."""
    if requests:
        return {"$set": _remembering(requests)}
    # Not an empty array: that counts as a value in a unique index, and only one document could have it.
    return {"$unset": {"request_ids": "", "requests": ""}}


def is_contact_method(document: Document) -> bool:
    """Tell whether the document is more than a memory of requests."""
    return "client_id" in document


def to_records(documents: Iterable[Document]) -> list[ContactMethod]:
    """Return the records among the documents."""
    return [from_document(document) for document in documents if is_contact_method(document)]


def from_document(document: Document) -> ContactMethod:
    """Return the record of a document of any layout that can be read: so far all say the same of a record.

    Raises:
        UnreadableDocument: something is missing in it, or is not what it should be.
    """
    try:
        if not all(map(isinstance, map(document.get, _NAMES), _KINDS_OF_NAMES)):
            raise _unreadable(document)
        key = document.get("value_key")
        return ContactMethod(
            id=document["_id"],
            client_id=document["client_id"],
            type=ContactMethodType(document["type"]),
            value=ContactValue(document["value"], None if key is None else key.partition(":")[2]),
            label=document.get("label"),
            is_primary=document["is_primary"],
            verified_at=document.get("verified_at"),
            external_id=document.get("external_id"),
            metadata=_metadata(document),
            created_at=document["created_at"],
            updated_at=document["updated_at"],
            etag=document["etag"],
            requests=to_requests(document),
        )
    except _MALFORMED:
        # Not its cause: that may quote what is in the document.
        raise _unreadable(document) from None


def to_requests(document: Document) -> tuple[IdempotencyRecord, ...]:
    """Return the requests that a document remembers.

    Raises:
        UnreadableDocument: what it remembers is not what it should be, or its layout is a newer one.
    """
    if is_of_newer_layout(document):
        raise UnknownLayout(document)
    try:
        return _requests(document)
    except _MALFORMED:
        raise _unreadable(document) from None


def unusable_fields(document: Document) -> tuple[str, ...]:
    """Return the fields because of which a document, not of a newer layout, cannot be read.

    Of a contact method those of `from_document`, none when it can be read; of other documents those of `to_requests`.
    """
    names: list[str] = []
    readers: list[tuple[str, Callable[[Document], object]]] = [("requests", _requests)]
    if is_contact_method(document):
        names += (name for name, kinds in _KINDS.items() if not isinstance(document.get(name), kinds))
        readers += [("type", _type), ("metadata", _metadata)]
    for name, read in readers:
        if name in names:
            continue
        try:
            read(document)
        except _MALFORMED:
            names.append(name)
    return tuple(names)


def _unreadable(document: Document) -> UnreadableDocument:
    return UnknownLayout(document) if is_of_newer_layout(document) else UnreadableDocument(document)


def _type(document: Document) -> ContactMethodType:
    return ContactMethodType(document["type"])


def _metadata(document: Document) -> dict[str, str]:
    # An empty mapping, which a hand may have written, reads as well as an empty array.
    return dict(pair.split("=", 1) for pair in document["metadata"])


def _requests(document: Document) -> tuple[IdempotencyRecord, ...]:
    requests = document.get("requests")
    return () if requests is None else tuple(map(_to_remembered, requests))


def _to_remembered(request: Document) -> IdempotencyRecord:
    id_, digest, at = request["id"], request["digest"], request["at"]
    if not (isinstance(id_, str) and isinstance(digest, bytes) and isinstance(at, datetime)):
        raise TypeError
    return IdempotencyRecord(RequestFingerprint(id_, digest), at, tuple(map(_to_outcome, request["outcomes"])))


def _remembering(requests: Sequence[IdempotencyRecord]) -> Document:
    return {
        "request_ids": [request.mark.id for request in requests],
        "requests": [
            {
                "id": request.mark.id,
                "digest": request.mark.digest,
                "at": request.at,
                "outcomes": [_from_outcome(outcome) for outcome in request.outcomes],
            }
            for request in requests
        ],
    }


def _from_outcome(outcome: Outcome) -> Document:
    if isinstance(outcome, ContactsvcError):
        return {
            "reason": outcome.reason,
            "message": outcome.message,
            "violations": [[violation.field, violation.description] for violation in outcome.violations],
            "metadata": outcome.metadata,
        }
    document: Document = {"action": outcome.action.value, "id": outcome.id}
    if outcome.demoted_ids:
        document["demoted_ids"] = list(outcome.demoted_ids)
    if outcome.promoted_id is not None:
        document["promoted_id"] = outcome.promoted_id
    if outcome.count != 1:
        document["count"] = outcome.count
    return document


def _to_outcome(document: Document) -> Outcome:
    if "reason" in document:
        violations = [FieldViolation(*violation) for violation in document["violations"]]
        return ContactsvcError.recalled(document["reason"], document["message"], violations, document["metadata"])
    return Applied(
        Action(document["action"]),
        document["id"],
        tuple(document.get("demoted_ids", ())),
        document.get("promoted_id"),
        document.get("count", 1),
    )
