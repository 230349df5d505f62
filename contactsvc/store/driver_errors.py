"""Translation of driver errors into errors of the service, by one table.

A driver's message may quote documents, as a duplicate-key error does, so translations never include it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from contactsvc.domain.idempotency import RequestAlreadyApplied
from contactsvc.errors import (
    ContactsvcError,
    DatabaseRefuses,
    DeadlineExceeded,
    ExternalIdTaken,
    PrimaryConflict,
    StoreUnavailable,
)
from contactsvc.service.ports import LostRace

NO_SUCH_COMMAND_CODES = frozenset({59, 115})
"""CommandNotFound, CommandNotSupported."""

_UNAUTHORIZED = 13
_WRITE_CONFLICT = 112

# The first match counts. AutoReconnect, NotPrimaryError and ServerSelectionTimeoutError are subclasses of
# ConnectionFailure.
_TRANSLATIONS: tuple[tuple[type[PyMongoError], type[ContactsvcError]], ...] = (
    (NetworkTimeout, StoreUnavailable),
    (ConnectionFailure, StoreUnavailable),
    (WaitQueueTimeoutError, StoreUnavailable),
    (ExecutionTimeout, DeadlineExceeded),
)

# Codes of a server that is temporarily unable (shutting down, changing its primary) without a network error:
# HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, ExceededTimeLimit,
# SocketException, NotWritablePrimary, InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
# NotPrimaryOrSecondary, and WriteConcernFailed, WriteConcernTimeout: written, but not by a majority in time.
_UNAVAILABLE_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 64, 100})


@contextmanager
def translated() -> Iterator[None]:
    """Raise driver errors as errors of the service; those without a translation pass through."""
    try:
        yield
    except PyMongoError as error:
        translation = _translation(error)
        if translation is None:
            raise
        raise translation from error


@contextmanager
def duplicates_translated() -> Iterator[None]:
    """Raise the violation of a unique index as LostRace, or as RequestAlreadyApplied."""
    try:
        yield
    except DuplicateKeyError as error:
        rule = rule_violated_by(error.details or {})
        if rule is None:
            raise
        raise rule from error
    except BulkWriteError as error:
        rule = rule_violated_by((error.details.get("writeErrors") or [{}])[0])
        if rule is None:
            raise
        raise rule from error


@contextmanager
def refusals_translated(action: str, database: str) -> Iterator[None]:
    """Raise driver errors as `translated` does, and other errors of the server as DatabaseRefuses.

    For operator commands and the start of the service, which end with a message for people.

    Args:
        action: the work of the block, such as "read the contact methods".
        database: the name of its database.
    """
    try:
        with translated():
            yield
    except OperationFailure as error:
        raise DatabaseRefuses(refusal_message(error, action, database)) from error


def refusal_message(error: OperationFailure, action: str = "", database: str = "") -> str:
    """Return the message for a command that the database refused, without the server's text, which may quote documents.

    Args:
        error: the refusal.
        action: the refused action, as in `refusals_translated`; empty if the database refused the connection.
        database: the name of its database.
    """
    name = (error.details or {}).get("codeName", "error")
    what = f" to {action} in {database}" if action else ""
    if action and error.code == _UNAUTHORIZED:
        # The whole role, since the next action would lack another privilege of it.
        advice = f"grant its user the role readWrite on {database} (read suffices for export, doctor and keys list)"
    else:
        advice = "check the roles of its user"
    return f"the database refuses{what} ({error.code} {name}); {advice}"


def is_transient(error: PyMongoError) -> bool:
    """Return whether the transaction had no effect and may be repeated."""
    return error.has_error_label("TransientTransactionError")


def is_repeatable(error: PyMongoError) -> bool:
    """Return whether a read that failed may succeed when it is repeated at once, as after a lost connection."""
    if isinstance(error, ServerSelectionTimeoutError | WaitQueueTimeoutError):
        # They have waited already.
        return False
    return isinstance(_translation(error), StoreUnavailable)


def is_commit_unknown(error: PyMongoError) -> bool:
    """Return whether the transaction may have been committed, so that only its commit may be repeated."""
    return error.has_error_label("UnknownTransactionCommitResult")


def _translation(error: PyMongoError) -> ContactsvcError | None:
    for known, meaning in _TRANSLATIONS:
        if isinstance(error, known):
            return meaning()
    if isinstance(error, OperationFailure):
        if error.code == _WRITE_CONFLICT:
            return PrimaryConflict()
        if error.code in _UNAVAILABLE_CODES:
            return StoreUnavailable()
    return None


def write_failure(failure: Mapping[str, Any]) -> Exception:
    """Return the error for the caller of a write that failed in a command of several, from its server description."""
    if failure.get("code") == _WRITE_CONFLICT:
        return LostRace(PrimaryConflict())
    error = OperationFailure("a write of a bulk write failed", failure.get("code"), failure)
    return rule_violated_by(failure) or _translation(error) or error


def rule_violated_by(details: Mapping[str, Any]) -> Exception | None:
    """Return the error for the violation of a unique index, from its server description; None for other errors."""
    keys = set(details.get("keyPattern", ()))
    if keys in ({"client_id", "type"}, {"_id"}):
        # Every attempt uses a new id. If the id exists, this attempt wrote it and its answer was lost.
        return LostRace(PrimaryConflict())
    if keys == {"external_id"}:
        return LostRace(ExternalIdTaken(None))
    if keys == {"request_ids"}:
        return RequestAlreadyApplied()
    return None
