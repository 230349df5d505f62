"""Errors of the service -> gRPC statuses with google.rpc details, by one table. No other module names status codes."""

from __future__ import annotations

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from contactsvc import errors

DOMAIN = "contactsvc"
NOT_FOUND = StatusCode.NOT_FOUND
INVALID_ARGUMENT = StatusCode.INVALID_ARGUMENT
RESOURCE_EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = StatusCode.UNAVAILABLE
DEADLINE_EXCEEDED = StatusCode.DEADLINE_EXCEEDED
"""The codes of health checks and of the drain, which have no errors of the service."""

# Details travel in the trailing metadata, of which gRPC clients accept at least 8 KiB; encoding adds a half.
_MAX_VIOLATION_BYTES = 4_000

# Looked up by the nearest class in the tree of errors.
_CODES: dict[type[errors.ContactsvcError], StatusCode] = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.ContactMethodNotFound: StatusCode.NOT_FOUND,
    errors.ExternalIdTaken: StatusCode.ALREADY_EXISTS,
    errors.Aborted: StatusCode.ABORTED,
    errors.FailedPrecondition: StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.VerificationExhausted: StatusCode.RESOURCE_EXHAUSTED,
    errors.VerificationLimit: StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.InternalFault: StatusCode.INTERNAL,
}


def code_of(error: errors.ContactsvcError) -> StatusCode:
    """Return the status code of an error."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def code_number_of(error: errors.ContactsvcError) -> int:
    """Return the status code as the number of google.rpc.Code."""
    number: int = code_of(error).value[0]
    return number


def trailing_of(error: errors.ContactsvcError, status: status_pb2.Status) -> list[tuple[str, str | bytes]]:
    """Return the trailing metadata of an error."""
    trailing: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if isinstance(error, errors.Overloaded):
        # The pushback for retries by the service config of a client (gRFC A6).
        trailing.append(("grpc-retry-pushback-ms", str(_milliseconds(error.retry_after))))
    return trailing


def status_of(error: errors.ContactsvcError) -> status_pb2.Status:
    """Return the status of an error: code, message, ErrorInfo, and BadRequest for violations."""
    status = status_pb2.Status(code=code_number_of(error), message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    details = [info]
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        size = 0
        for violation in error.violations:
            size += len(violation.field.encode()) + len(violation.description.encode())
            if size > _MAX_VIOLATION_BYTES:
                info.metadata["violations_left_out"] = str(len(error.violations) - len(bad_request.field_violations))
                break
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        details.append(bad_request)
    if isinstance(error, errors.Overloaded | errors.VerificationLimit):
        retry_info = error_details_pb2.RetryInfo()
        retry_info.retry_delay.FromMilliseconds(_milliseconds(error.retry_after))
        details.append(retry_info)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
