from __future__ import annotations

import logging

import grpc
import pytest
from google.rpc import error_details_pb2

from contactsvc import errors
from contactsvc.rpc.status import code_of, status_of
from contactsvc.telemetry.logs import JsonFormatter, TextFormatter
from contactsvc.v1 import contact_methods_pb2 as pb

EXAMPLES: list[errors.ContactsvcError] = [
    errors.InvalidFields([errors.FieldViolation("value", "must be good")]),
    errors.InvalidPageToken(),
    errors.RequestIdReused(),
    errors.MalformedRequest("X"),
    errors.ContactMethodNotFound("id"),
    errors.ExternalIdTaken("contact_x"),
    errors.EtagMismatch(),
    errors.PrimaryConflict(),
    errors.MetadataAmbiguous(),
    errors.PrimaryRejected(),
    errors.TransactionsUnsupported("an atomic batch"),
    errors.ValueUnverifiable(),
    errors.ValueChanged(),
    errors.VerificationNotStarted(),
    errors.VerificationExhausted(),
    errors.VerificationLimit("sends", 1.0),
    errors.Unauthenticated(),
    errors.PermissionDenied("it may not write"),
    errors.Overloaded("in this process"),
    errors.StoreUnavailable(),
    errors.DeadlineExceeded(),
    errors.InternalFault("r-1"),
]


def leaves(kind: type) -> set[type]:
    below: list[type] = kind.__subclasses__()
    return {leaf for child in below for leaf in leaves(child)} if below else {kind}


def test_the_examples_are_all_errors_there_are() -> None:
    assert {type(error) for error in EXAMPLES} == leaves(errors.ContactsvcError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_a_status_and_a_documented_reason(error: errors.ContactsvcError) -> None:
    status = status_of(error)
    info = error_details_pb2.ErrorInfo()

    assert code_of(error) in grpc.StatusCode
    assert status.message == error.message
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("contactsvc", error.reason)
    assert f"ERROR_REASON_{info.reason}" in set(pb.ErrorReason.keys())


def test_every_documented_reason_is_used() -> None:
    used = {f"ERROR_REASON_{error.reason}" for error in EXAMPLES}

    assert used == set(pb.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_logged_exceptions_do_not_show_their_texts(formatter: logging.Formatter) -> None:
    value = "juan@example.com"
    try:
        try:
            raise ValueError(value)
        except ValueError as cause:
            raise RuntimeError(f"it was {value}") from cause
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it failed", (), info)

    line = formatter.format(record)

    assert value not in line
    assert "RuntimeError" in line
    assert "ValueError" in line


# One that shares its reason with another is of no batch, and only errors of batches are written down.
_WRITTEN_DOWN = [error for error in EXAMPLES if not isinstance(error, errors.ValueUnverifiable)]


@pytest.mark.parametrize("error", _WRITTEN_DOWN, ids=lambda error: type(error).__name__)
def test_an_error_that_was_written_down_is_recalled_as_it_was(error: errors.ContactsvcError) -> None:
    recalled = errors.ContactsvcError.recalled(error.reason, error.message, error.violations, error.metadata)

    assert type(recalled) is type(error)
    assert (recalled.message, recalled.violations, recalled.metadata) == (
        error.message,
        error.violations,
        error.metadata,
    )
