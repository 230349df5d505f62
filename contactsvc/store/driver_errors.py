"""Driver errors -> errors of the service, by one table.

A driver's message may quote documents (a duplicate-key error does), so none of it goes into the translation.
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

# The first row that fits counts. ConnectionFailure has AutoReconnect, NotPrimaryError and ServerSelectionTimeoutError
# below it.
_TABLE: tuple[tuple[type[PyMongoError], type[ContactsvcError]], ...] = (
    (NetworkTimeout, StoreUnavailable),
    (ConnectionFailure, StoreUnavailable),
    (WaitQueueTimeoutError, StoreUnavailable),
    (ExecutionTimeout, DeadlineExceeded),
)

# Codes of a server that cannot do it now (shutting down, changing its primary), and says so without a network error:
# HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, ExceededTimeLimit,
# SocketException, NotWritablePrimary, InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
# NotPrimaryOrSecondary, and WriteConcernFailed, WriteConcernTimeout: written, but not by a majority in time.
_UNAVAILABLE_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 64, 100})

# CursorNotFound, CursorKilled.
_CURSOR_LOST_CODES = frozenset({43, 237})


@contextmanager
def translated() -> Iterator[None]:
    """Raise driver errors as errors of the service; what the table does not know passes through."""
    try:
        yield
    except PyMongoError as error:
        translation = _translation(error)
        if translation is None:
            raise
        raise translation from error


@contextmanager
def duplicates_translated() -> Iterator[None]:
    """Raise a violated unique index as what it means: that somebody was faster, or the caller was here before."""
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


class CursorLost(Exception):
    """The database has dropped the cursor of a long read; the read can go on with another one."""


@contextmanager
def lost_cursors_translated() -> Iterator[None]:
    """Raise CursorLost when the database does not know the cursor any more."""
    try:
        yield
    except OperationFailure as error:
        if error.code not in _CURSOR_LOST_CODES:
            raise
        raise CursorLost from error


@contextmanager
def refusals_translated(action: str, database: str) -> Iterator[None]:
    """Raise driver errors as `translated` does, and what the database refuses for another reason as DatabaseRefuses.

    For commands of operators and the start of the service, which end with a message for people.

    Args:
        action: what is done in the block, such as "read the contact methods".
        database: the name of the database that it is done in.
    """
    try:
        with translated():
            yield
    except OperationFailure as error:
        raise DatabaseRefuses(refused(error, action, database)) from error


def refused(error: OperationFailure, action: str = "", database: str = "") -> str:
    """Return what people are told when the database refuses; without its message, which may quote documents.

    Args:
        error: the refusal.
        action: what was to be done, for the message; empty when that is to answer at all.
        database: the name of the database that it was to be done in.
    """
    name = (error.details or {}).get("codeName", "error")
    what = f" to {action} in {database}" if action else ""
    if action and error.code == _UNAUTHORIZED:
        # Not only the right that was missing: the next one would be missed next.
        advice = f"grant its user the role readWrite on {database} (read does for export, doctor and keys list)"
    else:
        advice = "check the roles of its user"
    return f"the database refuses{what} ({error.code} {name}); {advice}"


def is_transient(error: PyMongoError) -> bool:
    """Tell whether the transaction had no effect and may be run again."""
    return error.has_error_label("TransientTransactionError")


def is_commit_unknown(error: PyMongoError) -> bool:
    """Tell whether the transaction may have been committed, so that only its commit may be repeated."""
    return error.has_error_label("UnknownTransactionCommitResult")


def _translation(error: PyMongoError) -> ContactsvcError | None:
    for known, meaning in _TABLE:
        if isinstance(error, known):
            return meaning()  # type: ignore[call-arg]  # those of the table take none
    if isinstance(error, OperationFailure):
        if error.code == _WRITE_CONFLICT:
            return PrimaryConflict()
        if error.code in _UNAVAILABLE_CODES:
            return StoreUnavailable()
    return None


def outcome_of(failure: Mapping[str, Any]) -> Exception:
    """Return what the failure of one write among several means to whoever asked for it."""
    if failure.get("code") == _WRITE_CONFLICT:
        return LostRace(PrimaryConflict())
    error = OperationFailure("one write of several", failure.get("code"), failure)
    return rule_violated_by(failure) or _translation(error) or error


def rule_violated_by(details: Mapping[str, Any]) -> Exception | None:
    """Return what a write error of a violated unique index means; None when it is none."""
    keys = set(details.get("keyPattern", ()))
    if keys in ({"client_id", "type"}, {"_id"}):
        # An id is new with every attempt: the record that has it was written by this one, whose answer was lost.
        return LostRace(PrimaryConflict())
    if keys == {"external_id"}:
        return LostRace(ExternalIdTaken(None))
    if keys == {"request_ids"}:
        return RequestAlreadyApplied()
    return None
