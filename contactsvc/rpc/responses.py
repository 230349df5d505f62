"""Responses: domain -> protobuf."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc import chunks
from contactsvc.domain.clock import EPOCH
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.listing import Page
from contactsvc.domain.results import Checked, Deleted, Result, Written
from contactsvc.errors import ContactsvcError
from contactsvc.rpc.enums import ACTION_NUMBERS, TYPE_NUMBERS
from contactsvc.rpc.status import code_number_of
from contactsvc.service import Found, StartedVerification, Synced
from contactsvc.v1 import contact_methods_pb2 as pb


def created(written: Written) -> pb.CreateContactMethodResponse:
    """Return the answer to a create."""
    return pb.CreateContactMethodResponse(contact_method=to_proto(written.record), demoted_ids=written.demoted_ids)


def updated(written: Written) -> pb.UpdateContactMethodResponse:
    """Return the answer to an update."""
    return pb.UpdateContactMethodResponse(contact_method=to_proto(written.record), demoted_ids=written.demoted_ids)


def upserted(written: Written) -> pb.UpsertContactMethodResponse:
    """Return the answer to an upsert."""
    return pb.UpsertContactMethodResponse(
        contact_method=to_proto(written.record),
        action=ACTION_NUMBERS[written.action],
        demoted_ids=written.demoted_ids,
    )


def deleted(deleted: Deleted) -> pb.DeleteContactMethodResponse:
    """Return the answer to a delete."""
    return pb.DeleteContactMethodResponse(promoted_id=deleted.promoted_id)


def found(found: Found) -> pb.BatchGetContactMethodsResponse:
    """Return the answer to the question for several records."""
    return pb.BatchGetContactMethodsResponse(
        contact_methods=map(to_proto, found.contact_methods), missing_ids=found.missing_ids
    )


def synced(synced: Synced) -> pb.SyncClientContactMethodsResponse:
    """Return the answer to a sync."""
    return pb.SyncClientContactMethodsResponse(
        created=map(to_proto, synced.created),
        updated=map(to_proto, synced.updated),
        unchanged=map(to_proto, synced.unchanged),
        deleted_ids=synced.deleted_ids,
        demoted_ids=synced.demoted_ids,
    )


def primary(record: ContactMethod | None) -> pb.GetPrimaryContactMethodResponse:
    """Return the answer to the question for a primary."""
    return pb.GetPrimaryContactMethodResponse(contact_method=None if record is None else to_proto(record))


async def listed(page: Page) -> pb.ListContactMethodsResponse:
    """Return the answer with a page."""
    return pb.ListContactMethodsResponse(
        contact_methods=await chunks.map_yielding(to_proto, page.contact_methods),
        next_page_token=page.next_page_token,
        total_size=page.total_size,
    )


async def client_listed(page: Page) -> pb.ListClientContactMethodsResponse:
    """Return the answer with a page of one client."""
    return pb.ListClientContactMethodsResponse(
        contact_methods=await chunks.map_yielding(to_proto, page.contact_methods), next_page_token=page.next_page_token
    )


async def streamed(page: Page) -> pb.StreamContactMethodsResponse:
    """Return one page of a stream."""
    return pb.StreamContactMethodsResponse(
        contact_methods=await chunks.map_yielding(to_proto, page.contact_methods), next_page_token=page.next_page_token
    )


def batch_created(results: Iterable[Result]) -> pb.BatchCreateContactMethodsResponse:
    """Return the answer to a batch of creates."""
    return pb.BatchCreateContactMethodsResponse(
        results=[pb.BatchCreateContactMethodsResult(**_result(result)) for result in results]
    )


def batch_updated(results: Iterable[Result]) -> pb.BatchUpdateContactMethodsResponse:
    """Return the answer to a batch of updates."""
    return pb.BatchUpdateContactMethodsResponse(
        results=[pb.BatchUpdateContactMethodsResult(**_result(result)) for result in results]
    )


def batch_deleted(results: Iterable[Result]) -> pb.BatchDeleteContactMethodsResponse:
    """Return the answer to a batch of deletes."""
    return pb.BatchDeleteContactMethodsResponse(
        results=[pb.BatchDeleteContactMethodsResult(**_result(result)) for result in results]
    )


def batch_upserted(results: Iterable[Result]) -> pb.BatchUpsertContactMethodsResponse:
    """Return the answer to a batch of upserts."""
    return pb.BatchUpsertContactMethodsResponse(
        results=[
            pb.BatchUpsertContactMethodsResult(
                **_result(result), action=ACTION_NUMBERS[result.action] if isinstance(result, Written) else None
            )
            for result in results
        ]
    )


def verification_started(started: StartedVerification) -> pb.StartContactMethodVerificationResponse:
    """Return the answer to the start of a verification."""
    response = pb.StartContactMethodVerificationResponse(
        value=started.record.value.text,
        type=TYPE_NUMBERS[started.record.type],
        contact_method=to_proto(started.record),
    )
    if started.challenge is not None:
        response.code = started.code or ""
        response.expires_at.CopyFrom(_timestamp(started.challenge.expires_at))
        response.attempts_left = started.challenge.attempts_left
        response.sends_left = started.challenge.sends_left
    return response


def verification_checked(checked: Checked) -> pb.CheckContactMethodVerificationResponse:
    """Return the answer to the check of a code."""
    return pb.CheckContactMethodVerificationResponse(
        result=pb.VERIFICATION_RESULT_VERIFIED if checked.verified else pb.VERIFICATION_RESULT_WRONG_CODE,
        attempts_left=checked.attempts_left,
        contact_method=to_proto(checked.record),
    )


def verification_set(written: Written) -> pb.SetContactMethodVerificationResponse:
    """Return the answer to a set verification."""
    return pb.SetContactMethodVerificationResponse(contact_method=to_proto(written.record))


def _result(result: Result) -> dict[str, Any]:
    """Return the fields that the result of one item has in every batch."""
    match result:
        case ContactsvcError():
            return {"error": _batch_error(result)}
        case Deleted():
            return {"deleted_id": result.id}
        case Written():
            return {"contact_method": to_proto(result.record), "demoted_ids": result.demoted_ids}
        case _:
            raise TypeError(f"no result of a batch: {type(result).__name__}")


def to_proto(record: ContactMethod) -> pb.ContactMethod:
    """Return the message of a record."""
    return pb.ContactMethod(
        id=record.id,
        client_id=record.client_id,
        type=TYPE_NUMBERS[record.type],
        value=record.value.text,
        normalized_value=record.value.normalized or "",
        label=record.label,
        is_primary=record.is_primary,
        is_verified=record.verified_at is not None,
        verified_at=None if record.verified_at is None else _timestamp(record.verified_at),
        verification_method=record.verification_method,
        external_id=record.external_id,
        metadata=record.metadata,
        created_at=_timestamp(record.created_at),
        updated_at=_timestamp(record.updated_at),
        etag=record.etag,
    )


def _batch_error(error: ContactsvcError) -> pb.BatchError:
    return pb.BatchError(
        code=code_number_of(error),
        reason=error.reason,
        message=error.message,
        field_violations=[
            pb.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ],
        metadata=error.metadata,
    )


def _timestamp(time: datetime) -> Timestamp:
    # Half the time that the methods of Timestamp take.
    since = time - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
