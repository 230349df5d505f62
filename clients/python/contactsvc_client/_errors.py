"""Exceptions of the client.

    ContactsError
    ├── ValidationError       the request is invalid; `issues` names the fields
    └── APIError
        ├── NotFoundError
        ├── UnauthorizedError     the API key is missing or invalid
        ├── ForbiddenError        the API key lacks the permission
        ├── ConflictError         the present state does not permit the call, such as a taken external id
        ├── RateLimitError        the service is overloaded, or a limit is reached; `retry_after` has the delay
        ├── ServerError           the service failed, or its database is unavailable
        ├── NetworkError          the service is unreachable
        └── TimeoutError          the call timed out; also a builtin TimeoutError

One table maps gRPC status codes to exceptions, for calls and for the items of partial batches.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from contactsvc_stubs.v1 import contact_methods_pb2 as pb
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Issue:
    """A faulty field: its path in the request and the rule that it violates."""

    field: str
    description: str


class ContactsError(Exception):
    """Base class of all exceptions of this package.

    Attributes:
        message: a description of the error; never quotes a contact value.
        code: the gRPC status code, such as "NOT_FOUND".
        reason: the reason code of the service, such as "EXTERNAL_ID_TAKEN"; None if the service sent none.
        request_id: the id of the call in the log of the service; None if nothing was sent.
        metadata: details of the error, such as `existing_id` for a taken external id.
        cause: the error of the gRPC library, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str | None = None,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.request_id = request_id
        self.metadata = dict(metadata or {})
        self.cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the cause: errors of the gRPC library cannot be pickled.
        return _restored, (type(self), self.message, {**vars(self), "cause": None})

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, without the cause, as JSON types."""
        return {
            "name": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "reason": self.reason,
            "request_id": self.request_id,
            "metadata": self.metadata,
        }


class ValidationError(ContactsError):
    """The request is invalid; repeating it unchanged cannot succeed.

    Attributes:
        issues: the faulty fields.
    """

    def __init__(self, message: str, *, issues: Iterable[Issue] = (), **rest: Any) -> None:
        super().__init__(message, **{"code": "INVALID_ARGUMENT", **rest})
        self.issues = tuple(issues)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, without the cause, as JSON types."""
        issues = [{"field": issue.field, "description": issue.description} for issue in self.issues]
        return {**super().to_dict(), "issues": issues}


class APIError(ContactsError):
    """The call failed in the service or on the network."""


class NotFoundError(APIError):
    """The contact method does not exist."""


class UnauthorizedError(APIError):
    """The API key is missing or invalid."""


class ForbiddenError(APIError):
    """The API key lacks the permission for this call."""


class ConflictError(APIError):
    """The present state does not permit the call; see `reason`, such as EXTERNAL_ID_TAKEN or ETAG_MISMATCH."""


class RateLimitError(APIError):
    """A limit is reached: see `reason`. With OVERLOADED nothing was done.

    Attributes:
        retry_after: seconds to wait before the next attempt; None if the service sent none.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, without the cause, as JSON types."""
        return {**super().to_dict(), "retry_after": self.retry_after}


class ServerError(APIError):
    """The service failed, or its database is unavailable. A write may or may not have been applied."""


class NetworkError(APIError):
    """The service is unreachable. A write may or may not have been applied."""


class TimeoutError(APIError, builtins.TimeoutError):  # noqa: A001 - the SDK's name; it is the builtin one as well
    """The call timed out. A write may or may not have been applied."""


def invalid(field: str, description: str) -> ValidationError:
    """Return the exception for an invalid argument."""
    return ValidationError(f"{field}: {description}", reason="INVALID_FIELD", issues=[Issue(field, description)])


def _restored(kind: type[ContactsError], message: str, state: Mapping[str, Any]) -> ContactsError:
    error = kind(message)
    vars(error).update(state)
    return error


_CLASSES: dict[grpc.StatusCode, type[ContactsError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: ValidationError,
    grpc.StatusCode.OUT_OF_RANGE: ValidationError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthorizedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimitError,
    grpc.StatusCode.UNAVAILABLE: NetworkError,
    grpc.StatusCode.CANCELLED: NetworkError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutError,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNKNOWN: ServerError,
    grpc.StatusCode.DATA_LOSS: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc_error(error: grpc.RpcError, request_id: str) -> ContactsError:
    """Return the exception for a failed call with this request id."""
    # Both kinds of client raise an RpcError that is also a Call.
    call: Any = error
    details = dict(call.trailing_metadata() or ()).get(_DETAILS_KEY, b"")
    info, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    # Details that cannot be decoded, of a proxy perhaps, must not hide the status.
    with contextlib.suppress(DecodeError):
        for detail in status_pb2.Status.FromString(details).details:
            # Unpack ignores a detail of another type.
            for known in (info, bad_request, retry):
                detail.Unpack(known)
    return _exception(
        call.code(),
        call.details() or "",
        reason=info.reason or None,
        metadata=dict(info.metadata),
        issues=[Issue(violation.field, violation.description) for violation in bad_request.field_violations],
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        request_id=request_id,
        cause=error,
    )


def from_batch_error(error: pb.BatchError) -> ContactsError:
    """Return the exception for a failed item of a batch."""
    return _exception(
        _BY_NUMBER.get(error.code, grpc.StatusCode.UNKNOWN),
        error.message,
        reason=error.reason or None,
        metadata=dict(error.metadata),
        issues=[Issue(violation.field, violation.description) for violation in error.field_violations],
    )


def _exception(
    code: grpc.StatusCode,
    message: str,
    *,
    reason: str | None,
    metadata: Mapping[str, str],
    issues: list[Issue],
    retry_after: float | None = None,
    request_id: str | None = None,
    cause: BaseException | None = None,
) -> ContactsError:
    kind = _CLASSES.get(code, ServerError)
    if kind is RateLimitError and reason is None and "larger than max" in message:
        # From gRPC itself: the request or the response exceeds the message size limit, now and on every retry.
        kind = ValidationError
    if kind is NetworkError and reason is not None:
        # The service answered: its database is unavailable.
        kind = ServerError
    extra: dict[str, Any] = {}
    if kind is ValidationError:
        extra["issues"] = issues
    elif kind is RateLimitError:
        extra["retry_after"] = retry_after
    return kind(message, code=code.name, reason=reason, metadata=metadata, request_id=request_id, cause=cause, **extra)
