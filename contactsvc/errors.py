"""The errors of the service, named after the reasons of the contract. Imports neither gRPC nor MongoDB.

    ContactsvcError
    ├── InvalidRequest            the request itself is wrong
    │   ├── InvalidFields         fields break their rules
    │   ├── InvalidPageToken
    │   ├── RequestIdReused       the request_id belongs to another request
    │   └── MalformedRequest      the bytes do not decode
    ├── ContactMethodNotFound
    ├── ExternalIdTaken
    ├── Aborted                   lost a race; retry
    │   ├── EtagMismatch
    │   └── PrimaryConflict
    ├── FailedPrecondition        the present state forbids it
    │   ├── MetadataAmbiguous
    │   ├── PrimaryRejected
    │   ├── ValueUnverifiable     the value has no normal form
    │   ├── ValueChanged
    │   ├── VerificationNotStarted
    │   └── TransactionsUnsupported
    ├── Unauthenticated           no valid API key
    ├── PermissionDenied          the API key lacks a permission
    ├── VerificationExhausted     the tries of a challenge are spent
    ├── VerificationLimit         no sends are left
    ├── Overloaded                a limit is reached; nothing was done
    ├── StoreUnavailable
    ├── DeadlineExceeded
    └── InternalFault

    SafeToLog                     carries text that may be logged; of others only the class is logged

    StartupError                  the service cannot start (exit code 1)
    ├── DatabaseRefuses           the database refuses a command
    └── ConfigurationError        a setting is wrong (exit code 2)

Every leaf of the first tree has a `reason`, a value of the proto's enum ErrorReason without its prefix. A message names
the field and the rule and never quotes a contact value: it goes to the caller, and from there into logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A violation: the path of a field in the request, and the rule that it breaks."""

    field: str
    description: str


def _summary(violations: Sequence[FieldViolation]) -> str:
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{first.field}: {first.description}{more}"


class ContactsvcError(Exception):
    """Base of all errors that a call can end with."""

    reason: ClassVar[str]
    text: ClassVar[str] = ""
    """The message of an error that has only one."""
    field: str | None = None
    """The field of the request that it concerns, if it concerns one."""
    violations: tuple[FieldViolation, ...] = ()
    """The violations that the caller is told."""

    def __init__(self, message: str = "", *, metadata: Mapping[str, str] | None = None) -> None:
        self.message = message or self.text
        super().__init__(self.message)
        self.metadata = dict(metadata or {})

    def below(self, path: str) -> Self:
        """Return the same error for the item at `path` of a batch, with its fields below that path."""
        own = self.violations or (FieldViolation(self.field or "", self.message),)
        return self.naming(FieldViolation(".".join(filter(None, (path, v.field))), v.description) for v in own)

    def naming(self, violations: Iterable[FieldViolation]) -> Self:
        """Return the same error with other violations."""
        violations = tuple(violations)
        return self._made(_summary(violations), violations, self.metadata)

    def with_metadata(self, metadata: Mapping[str, str]) -> Self:
        """Return the same error with other metadata; it keeps attributes of its kind, such as `retry_after`."""
        error = self._made(self.message, self.violations, metadata)
        vars(error).update({**vars(self), **vars(error)})
        return error

    @classmethod
    def recalled(
        cls, reason: str, message: str, violations: Iterable[FieldViolation], metadata: Mapping[str, str]
    ) -> ContactsvcError:
        """Return the error of this reason from its stored parts; raise KeyError when the reason is unknown."""
        kind = next((leaf for leaf in cls._leaves() if leaf.reason == reason), None)
        if kind is None:
            raise KeyError(reason)
        return kind._made(message, tuple(violations), metadata)

    @classmethod
    def _made(cls, message: str, violations: tuple[FieldViolation, ...], metadata: Mapping[str, str]) -> Self:
        error = cls.__new__(cls)
        ContactsvcError.__init__(error, message, metadata=metadata)
        error.violations = violations
        return error

    @classmethod
    def _leaves(cls) -> Iterator[type[ContactsvcError]]:
        below = cls.__subclasses__()
        if not below:
            yield cls
        for kind in below:
            yield from kind._leaves()


class InvalidRequest(ContactsvcError):
    """The request itself is wrong; repeating it unchanged cannot succeed."""


class InvalidFields(InvalidRequest):
    """One or more fields break their rules."""

    reason = "INVALID_FIELD"

    def __init__(self, violations: Iterable[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__(_summary(self.violations))


class InvalidPageToken(InvalidRequest):
    """The page token is damaged, or belongs to another listing."""

    reason = "INVALID_PAGE_TOKEN"

    def __init__(self) -> None:
        rule = "is damaged, or belongs to another filter, sort or environment; start again at the first page"
        self.violations = (FieldViolation("page_token", rule),)
        super().__init__(_summary(self.violations))


class RequestIdReused(InvalidRequest):
    """The request_id was used for another request."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self) -> None:
        rule = "was used for another request within the last 24 hours; use a new one"
        self.violations = (FieldViolation("request_id", rule),)
        super().__init__(_summary(self.violations))


class MalformedRequest(InvalidRequest):
    """The bytes do not decode as the declared message."""

    reason = "MALFORMED_REQUEST"

    def __init__(self, message_name: str) -> None:
        super().__init__(f"the request is not a valid {message_name}; check that client and server use the same proto")


class ContactMethodNotFound(ContactsvcError):
    """No record has this id, external id or metadata pair."""

    reason = "CONTACT_METHOD_NOT_FOUND"

    def __init__(self, looked_up_by: str) -> None:
        super().__init__(f"no contact method has this {looked_up_by}")
        self.field = looked_up_by.replace(" ", "_")


class ExternalIdTaken(ContactsvcError):
    """Another record of the environment has this external id."""

    reason = "EXTERNAL_ID_TAKEN"

    def __init__(self, existing_id: str | None) -> None:
        self.violations = (FieldViolation("external_id", "another contact method has it"),)
        metadata = {"existing_id": existing_id} if existing_id else None
        super().__init__(_summary(self.violations), metadata=metadata)


class Aborted(ContactsvcError):
    """Lost a race against other callers; nothing was written, and trying again is right."""


class EtagMismatch(Aborted):
    """The record has changed since the caller, or the service, read it."""

    reason = "ETAG_MISMATCH"
    field = "etag"
    text = "the contact method has changed in the meantime; read it again and retry"


class PrimaryConflict(Aborted):
    """Concurrent writes kept changing the primary of the same client and type."""

    reason = "PRIMARY_CONFLICT"
    text = "concurrent writes to the same contact methods, or to their primary; retry"


class FailedPrecondition(ContactsvcError):
    """The request is well formed, but the present state forbids it."""


class MetadataAmbiguous(FailedPrecondition):
    """Several records have the metadata pair."""

    reason = "METADATA_AMBIGUOUS"
    text = "several contact methods have this metadata pair; add client_id, or list them"


class PrimaryRejected(FailedPrecondition):
    """The record is primary and the delete policy is REJECT."""

    reason = "PRIMARY_REJECTED"
    text = "the contact method is the primary, and on_primary is REJECT"


class TransactionsUnsupported(FailedPrecondition):
    """The database has no transactions, and the call needs them."""

    reason = "TRANSACTIONS_UNSUPPORTED"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs transactions, and the database is a standalone server; run it as a replica set")


class ValueUnverifiable(FailedPrecondition):
    """The value has no normal form, to which a verification could belong."""

    reason = "INVALID_FIELD"

    def __init__(self) -> None:
        self.violations = (FieldViolation("value", "has no normal form and cannot be verified; correct it first"),)
        super().__init__(_summary(self.violations))


class ValueChanged(FailedPrecondition):
    """The record has another value than the caller means."""

    reason = "VALUE_CHANGED"
    field = "value"
    text = "the contact method has another value; read it again"


class VerificationNotStarted(FailedPrecondition):
    """No challenge is running.

    Attributes:
        is_expired: whether there is one that has expired.
    """

    reason = "VERIFICATION_NOT_STARTED"

    def __init__(self, *, is_expired: bool = False) -> None:
        self.is_expired = is_expired
        super().__init__("no verification is running: not started, expired, or voided by a new value; start one")


class VerificationExhausted(ContactsvcError):
    """The tries of the challenge are spent."""

    reason = "VERIFICATION_EXHAUSTED"
    text = "too many wrong codes; start a new verification"


class VerificationLimit(ContactsvcError):
    """No sends are left: of the challenge, or of its value or client today.

    Attributes:
        limit: "sends", "value_day" or "client_day".
        retry_after: seconds until there are more.
    """

    reason = "VERIFICATION_LIMIT"

    def __init__(self, limit: str, retry_after: float) -> None:
        super().__init__(f"too many codes were sent (limit: {limit}); retry later", metadata={"limit": limit})
        self.limit = limit
        self.retry_after = retry_after


class Unauthenticated(ContactsvcError):
    """The call has no valid API key. Whether it is missing, unknown, expired or revoked is not revealed."""

    reason = "UNAUTHENTICATED"
    text = "missing or invalid API key; send it in the metadata as authorization: Bearer KEY"


class PermissionDenied(ContactsvcError):
    """The API key is valid, but not for this call."""

    reason = "PERMISSION_DENIED"

    def __init__(self, why: str) -> None:
        super().__init__(f"the API key {why}")


class Overloaded(ContactsvcError):
    """A limit is reached; nothing was done.

    Attributes:
        retry_after: seconds after which a retry makes sense.
    """

    reason = "OVERLOADED"
    retry_after: float = 0.5

    def __init__(self, whose: str) -> None:
        super().__init__(f"too many calls in flight {whose}; retry in a moment")

    @classmethod
    def by_rate(cls, rate: float, retry_after: float) -> Self:
        """Return the error of an API key that has used up its rate, in calls per second."""
        error = cls._made(f"the API key exceeds its {rate:g} calls per second; retry after {retry_after:g} s", (), {})
        error.retry_after = retry_after
        return error

    @classmethod
    def by_bytes(cls, whose: str) -> Self:
        """Return the error of a call that would need too many bytes beside the calls under way."""
        return cls._made(f"too many bytes under way {whose}; read the answers, and retry in a moment", (), {})

    @classmethod
    def by_requests(cls) -> Self:
        """Return the error of a call that arrives while too many requests are unfinished."""
        return cls._made("too many unfinished requests; retry in a moment", (), {})

    @classmethod
    def by_scans(cls, whose: str) -> Self:
        """Return the error of a call that may read many records, beside too many others of its kind."""
        message = (
            f"too many lists, streams or counts at once that may read many contact methods {whose}; retry in a moment, "
            f"or name ids, external ids, values or clients in the filter"
        )
        error = cls._made(message, (), {})
        error.retry_after = 1.0
        return error


class StoreUnavailable(ContactsvcError):
    """The database cannot be reached, or the connection broke; a write may or may not have happened."""

    reason = "STORE_UNAVAILABLE"
    text = "the database cannot be reached; a write may or may not have happened"


class DeadlineExceeded(ContactsvcError):
    """The deadline of the call has passed; a write may or may not have happened."""

    reason = "DEADLINE_EXCEEDED"
    text = "the deadline has passed; a write may or may not have happened"


class InternalFault(ContactsvcError):
    """A fault in the service; the details are in the log under the request id."""

    reason = "INTERNAL"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"internal error; the service's log has the details under request id {request_id}",
            metadata={"request_id": request_id},
        )


class SafeToLog(Exception):
    """An exception that carries text for the log; of other exceptions only class and stack are logged.

    Attributes:
        for_the_log: the text; it names fields, databases and ids made by the service, and quotes no data.
    """

    for_the_log: str


class StartupError(Exception):
    """The service cannot start; the message says why and what to do."""

    exit_code: ClassVar[int] = 1


class DatabaseRefuses(StartupError, SafeToLog):
    """The database refuses a command; the message names the command, the database and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.for_the_log = message


class ConfigurationError(StartupError):
    """One or more settings are wrong; the message names them all."""

    exit_code = 2
