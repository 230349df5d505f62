"""What the methods raise.

    ContactsError
    ├── ValidationError       the request is wrong; `issues` names the fields
    └── APIError
        ├── NotFoundError
        ├── UnauthorizedError     no key, or a bad one
        ├── ForbiddenError        the key does not allow it
        ├── ConflictError         the present state forbids it: a taken external id, a lost race, a rule
        ├── RateLimitError
        ├── ServerError           the service failed, or its database does not answer
        ├── NetworkError          the service cannot be reached
        └── TimeoutError          also a builtin TimeoutError

gRPC statuses become these by one table, for calls as for the items of a partial batch.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from contactsvc.v1 import contact_methods_pb2 as pb

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Issue:
    """A field at fault: its path in the request and the rule that it breaks."""

    field: str
    description: str


class ContactsError(Exception):
    """Base of everything that this package raises.

    Attributes:
        message: what is wrong, in words; never quotes a contact value.
        code: the gRPC status as a string, such as "NOT_FOUND".
        reason: why, as the service's contract names it, such as "EXTERNAL_ID_TAKEN"; None when the service did not say.
        request_id: the call's name in the service's log, if it got there; None when nothing was sent.
        metadata: facts about the error, such as `existing_id` of a taken external id.
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
        # Without its cause: errors of the gRPC library cannot be pickled.
        return _restored, (type(self), self.message, {**vars(self), "cause": None})

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to log or to send on, as JSON types."""
        return {
            "name": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "reason": self.reason,
            "request_id": self.request_id,
            "metadata": self.metadata,
        }


class ValidationError(ContactsError):
    """The request is wrong; repeating it unchanged cannot succeed.

    Attributes:
        issues: the fields at fault.
    """

    def __init__(self, message: str, *, issues: Iterable[Issue] = (), **rest: Any) -> None:
        super().__init__(message, **{"code": "INVALID_ARGUMENT", **rest})
        self.issues = tuple(issues)

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to log or to send on, as JSON types."""
        issues = [{"field": issue.field, "description": issue.description} for issue in self.issues]
        return {**super().to_dict(), "issues": issues}


class APIError(ContactsError):
    """The service, or the way to it, said no."""


class NotFoundError(APIError):
    """There is no such contact method."""


class UnauthorizedError(APIError):
    """No API key, or a bad one."""


class ForbiddenError(APIError):
    """The API key does not allow this."""


class ConflictError(APIError):
    """The present state forbids it; `reason` tells a taken external id from a lost race from a rule."""


class RateLimitError(APIError):
    """Too many calls; try again later."""


class ServerError(APIError):
    """The service failed, or its database does not answer. A write may or may not have happened."""


class NetworkError(APIError):
    """The service cannot be reached. A write may or may not have happened."""


class TimeoutError(APIError, builtins.TimeoutError):  # noqa: A001 - the SDK's name; it is the builtin one as well
    """The time for the call is over. A write may or may not have happened."""


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
    """Return the exception of a failed call that was sent under this request id."""
    # Both kinds of client raise an RpcError that is a Call as well.
    call: Any = error
    trailing = dict(call.trailing_metadata() or ())
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(trailing.get(_DETAILS_KEY, b"")).details:
        # Each unpacks its own type and leaves the other alone.
        detail.Unpack(info)
        detail.Unpack(bad_request)
    return _exception(
        call.code(),
        call.details() or "",
        reason=info.reason or None,
        metadata=dict(info.metadata),
        issues=[Issue(violation.field, violation.description) for violation in bad_request.field_violations],
        request_id=request_id,
        cause=error,
    )


def from_batch_error(error: pb.BatchError) -> ContactsError:
    """Return the exception of a failed item of a partial batch."""
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
    request_id: str | None = None,
    cause: BaseException | None = None,
) -> ContactsError:
    kind = _CLASSES.get(code, ServerError)
    if kind is RateLimitError and reason is None and "larger than max" in message:
        # gRPC itself, of the length of the request or the response: trying again does not shorten it.
        kind = ValidationError
    if kind is NetworkError and reason is not None:
        # The service answered: it is the database behind it that cannot be reached.
        kind = ServerError
    extra: dict[str, Any] = {"issues": issues} if kind is ValidationError else {}
    return kind(message, code=code.name, reason=reason, metadata=metadata, request_id=request_id, cause=cause, **extra)
