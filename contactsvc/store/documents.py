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

A request that wrote one record is remembered in that record, so that it took one write. Others are remembered in
documents that are no contact method, in the same collection so that one unique index covers all. They have only _id,
request_ids, requests, forget_at (when MongoDB may remove them) and schema_version. The document of a deleted record
becomes one of them when it remembers requests; nothing else of the record remains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from types import NoneType

from contactsvc.domain.contact_method import ContactMethod, ContactMethodType, ContactValue, Slot
from contactsvc.domain.memory import Remembered, RequestMark
from contactsvc.domain.operations import Action, Applied, Outcome
from contactsvc.errors import ContactsvcError, FieldViolation
from contactsvc.store.drivers import Document

SCHEMA_VERSION = 2
"""The layout that this release writes, and the newest that it reads."""

_TEXT_OR_NONE = (str, NoneType)
_TIME_OR_NONE = (datetime, NoneType)


class UnreadableDocument(Exception):
    """A document is no contact method as this release writes them. A call that meets it ends as INTERNAL."""

    def __init__(self, document: Document, why: str | None = None) -> None:
        super().__init__(
            why or f"the document {document['_id']} cannot be read; `contactsvc doctor` says what it lacks"
        )


class UnknownLayout(UnreadableDocument):
    """A document has a newer layout than this release knows; it is neither read nor written."""

    def __init__(self, document: Document) -> None:
        super().__init__(
            document,
            f"the document {document['_id']} has layout {document['schema_version']}, which a newer release has "
            f"written, and this one knows no layout after {SCHEMA_VERSION}; run the newer release",
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


def to_memory(requests: Sequence[Remembered]) -> Document:
    """Return a document that remembers requests and is no contact method."""
    forget_at = max(request.forget_at for request in requests)
    return {**_remembering(requests), "forget_at": forget_at, "schema_version": SCHEMA_VERSION}


def remembering_only(requests: Sequence[Remembered]) -> Document:
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
        key = document.get("value_key")
        if not _has_kinds(document):
            raise UnreadableDocument(document)
        return ContactMethod(
            id=document["_id"],
            client_id=document["client_id"],
            type=ContactMethodType(document["type"]),
            value=ContactValue(document["value"], None if key is None else key.partition(":")[2]),
            label=document.get("label"),
            is_primary=document["is_primary"],
            verified_at=document.get("verified_at"),
            external_id=document.get("external_id"),
            metadata=dict(pair.split("=", 1) for pair in document["metadata"]),
            created_at=document["created_at"],
            updated_at=document["updated_at"],
            etag=document["etag"],
            requests=to_requests(document),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        # Not its cause: that may quote what is in the document.
        raise UnreadableDocument(document) from None


def _has_kinds(document: Document) -> bool:
    """Tell whether those fields are of the right kind that are taken as they are."""
    return (
        isinstance(document["_id"], str)
        and isinstance(document["client_id"], str)
        and isinstance(document["value"], str)
        and isinstance(document["is_primary"], bool)
        and isinstance(document["created_at"], datetime)
        and isinstance(document["updated_at"], datetime)
        and isinstance(document["etag"], str)
        and isinstance(document.get("label"), _TEXT_OR_NONE)
        and isinstance(document.get("verified_at"), _TIME_OR_NONE)
        and isinstance(document.get("external_id"), _TEXT_OR_NONE)
    )


def to_requests(document: Document) -> tuple[Remembered, ...]:
    """Return the requests that a document remembers."""
    if is_of_newer_layout(document):
        raise UnknownLayout(document)
    return tuple(
        Remembered(
            RequestMark(request["id"], request["digest"]),
            request["at"],
            tuple(_to_outcome(outcome) for outcome in request["outcomes"]),
        )
        for request in document.get("requests", ())
    )


def _remembering(requests: Sequence[Remembered]) -> Document:
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
