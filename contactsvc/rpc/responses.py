"""Responses: domain -> protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

_EPOCH_DAY = EPOCH.toordinal()


def got(record: ContactMethod) -> pb.GetContactMethodResponse:
    """Return the answer with a record."""
    response = pb.GetContactMethodResponse()
    write_to(response.contact_method, record)
    return response


def created(written: Written) -> pb.CreateContactMethodResponse:
    """Return the answer to a create."""
    response = pb.CreateContactMethodResponse(demoted_ids=written.demoted_ids)
    write_to(response.contact_method, written.record)
    return response


def updated(written: Written) -> pb.UpdateContactMethodResponse:
    """Return the answer to an update."""
    response = pb.UpdateContactMethodResponse(demoted_ids=written.demoted_ids)
    write_to(response.contact_method, written.record)
    return response


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
    response = pb.GetPrimaryContactMethodResponse()
    if record is not None:
        write_to(response.contact_method, record)
    return response


async def listed(page: Page) -> pb.ListContactMethodsResponse:
    """Return the answer with a page."""
    response = pb.ListContactMethodsResponse(next_page_token=page.next_page_token, total_size=page.total_size)
    await _write_all(response.contact_methods, page.contact_methods)
    return response


async def client_listed(page: Page) -> pb.ListClientContactMethodsResponse:
    """Return the answer with a page of one client."""
    response = pb.ListClientContactMethodsResponse(next_page_token=page.next_page_token)
    await _write_all(response.contact_methods, page.contact_methods)
    return response


async def streamed(page: Page) -> pb.StreamContactMethodsResponse:
    """Return one page of a stream."""
    response = pb.StreamContactMethodsResponse(next_page_token=page.next_page_token)
    await _write_all(response.contact_methods, page.contact_methods)
    return response


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
        _write_time(response.expires_at, started.challenge.expires_at)
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
    message = pb.ContactMethod()
    write_to(message, record)
    return message


def write_to(message: pb.ContactMethod, record: ContactMethod) -> None:
    """Write a record to its message, which is empty so far.

    Field by field, and where the message belongs: half the time of keyword arguments and of a copy into the answer.
    """
    message.id = record.id
    message.client_id = record.client_id
    message.type = TYPE_NUMBERS[record.type]
    message.value = record.value.text
    if (normalized := record.value.normalized) is not None:
        message.normalized_value = normalized
    if record.label is not None:
        message.label = record.label
    message.is_primary = record.is_primary
    if record.verified_at is not None:
        message.is_verified = True
        _write_time(message.verified_at, record.verified_at)
    if record.verification_method is not None:
        message.verification_method = record.verification_method
    if record.external_id is not None:
        message.external_id = record.external_id
    if record.metadata:
        pairs = message.metadata
        for key, value in record.metadata.items():
            pairs[key] = value
    _write_time(message.created_at, record.created_at)
    _write_time(message.updated_at, record.updated_at)
    message.etag = record.etag


async def _write_all(messages: Any, records: Sequence[ContactMethod]) -> None:
    """Write records to a repeated field of an answer."""
    await chunks.map_yielding(lambda record: write_to(messages.add(), record), records)


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


def _write_time(message: Timestamp, time: datetime) -> None:
    # Arithmetic of whole days: to subtract two times calls the drivers' time zone, which is written in Python.
    days = time.toordinal() - _EPOCH_DAY
    message.seconds = days * 86_400 + time.hour * 3_600 + time.minute * 60 + time.second
    message.nanos = time.microsecond * 1_000
