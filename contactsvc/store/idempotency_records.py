"""Idempotency records inside MongoDB documents.

A request that wrote exactly one record is stored in the document of that record, which saves a second write. Other
requests are stored in documents of their own, in the same collection so that one unique index covers both. Such an
idempotency document has only _id, request_ids, requests, schema_version, and forget_at, the time after which MongoDB
may remove it. Deleting a record that carries requests turns its document into an idempotency document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from contactsvc.domain.idempotency import IdempotencyRecord, RequestFingerprint
from contactsvc.domain.outcomes import Action, Applied, Outcome, VerificationOutcome
from contactsvc.errors import ContactsvcError, FieldViolation
from contactsvc.store.drivers import Document
from contactsvc.store.layouts import MALFORMED, SCHEMA_VERSION, UnknownLayout, is_newer_layout, unreadable


def idempotency_fields(records: Sequence[IdempotencyRecord]) -> Document:
    """Return the fields that store idempotency records, of which there must be at least one."""
    return {
        "request_ids": [record.fingerprint.id for record in records],
        "requests": [
            {
                "id": record.fingerprint.id,
                "digest": record.fingerprint.digest,
                "at": record.at,
                "outcomes": [_from_outcome(outcome) for outcome in record.outcomes],
            }
            for record in records
        ],
    }


def idempotency_document(records: Sequence[IdempotencyRecord]) -> Document:
    """Return an idempotency document without its _id."""
    forget_at = max(record.expires_at for record in records)
    return {**idempotency_fields(records), "forget_at": forget_at, "schema_version": SCHEMA_VERSION}


def replacing_idempotency_records(records: Sequence[IdempotencyRecord]) -> Document:
    """Return the update that replaces all idempotency records of a document by these."""
    if records:
        return {"$set": idempotency_fields(records)}
    # An empty array would count as a value in the unique index, and only one document could have it.
    return {"$unset": {"request_ids": "", "requests": ""}}


def to_idempotency_records(document: Document) -> tuple[IdempotencyRecord, ...]:
    """Return the idempotency records of a document.

    Raises:
        UnreadableDocument: they are malformed, or the document has a newer layout.
    """
    if is_newer_layout(document):
        raise UnknownLayout(document)
    requests = document.get("requests")
    if requests is None:
        return ()
    try:
        return tuple(map(_to_record, requests))
    except MALFORMED:
        # Without the cause, which may quote the document.
        raise unreadable(document) from None


def _to_record(request: Document) -> IdempotencyRecord:
    id_, digest, at = request["id"], request["digest"], request["at"]
    if not (isinstance(id_, str) and isinstance(digest, bytes) and isinstance(at, datetime)):
        raise TypeError
    return IdempotencyRecord(RequestFingerprint(id_, digest), at, tuple(map(_to_outcome, request["outcomes"])))


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
    # Earlier releases ignore it.
    if outcome.verification is not None:
        document["verification"] = asdict(outcome.verification)
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
        None if "verification" not in document else VerificationOutcome(**document["verification"]),
    )
