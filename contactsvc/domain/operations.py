"""The writes that callers can request."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime

from contactsvc.domain.kinds import ContactMethodType, Slot
from contactsvc.domain.patch import Patch
from contactsvc.domain.primary import PrimaryDeletePolicy


@dataclass(frozen=True, slots=True)
class Create:
    """Create a record; the patch has its type and value."""

    client_id: str
    patch: Patch


@dataclass(frozen=True, slots=True)
class Update:
    """Change the record with this id; with an etag, only if it still has that."""

    id: str
    patch: Patch
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the record with this id; with an etag, only if it still has that."""

    id: str
    policy: PrimaryDeletePolicy = PrimaryDeletePolicy.LEAVE_NONE
    allow_missing: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create the record with this external id, or change the one that has it; the patch has its type and value."""

    client_id: str
    external_id: str
    patch: Patch
    etag: str = ""


@dataclass(frozen=True, slots=True)
class StartVerification:
    """Start a challenge for the record's value, or send its code again; with an etag, only if it still has that."""

    id: str
    etag: str = ""


@dataclass(slots=True)
class CheckVerification:
    """Check a code.

    It is compared once per challenge, however often the operation is applied again after a lost race.

    Attributes:
        id: the record.
        code: six ASCII digits.
        compared: the ids of challenges that it was compared with, and the results.
    """

    id: str
    code: str = field(repr=False)
    compared: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetVerification:
    """Set or clear the verification of a record's value without a code; with an etag, only if it still has that.

    Attributes:
        id: the record.
        verified: whether its value is verified.
        value: the value that the caller expects; None for any.
        verified_at: when; None for now, or for the time that it has.
        method: how; None for "attested", or for the method that it has.
        etag: the condition.
    """

    id: str
    verified: bool
    value: str | None = None
    verified_at: datetime | None = None
    method: str | None = None
    etag: str = ""


VerificationOperation = StartVerification | CheckVerification | SetVerification
Operation = Create | Update | Delete | Upsert | VerificationOperation


def slot_claimed_by(operation: Operation) -> Slot | None:
    """Return the primary slot that an operation claims, if it is known without reading records."""
    match operation:
        case Create() | Upsert() if operation.patch.is_primary is True:
            if not isinstance(operation.patch.type, ContactMethodType):
                raise TypeError("a record that may be new needs a type")
            return operation.client_id, operation.patch.type
    return None


def contested_by(operation: Operation) -> set[Hashable]:
    """Return the record and the external id that an operation names, over which it may compete with others."""
    match operation:
        case Create():
            external_id = operation.patch.external_id
            return {("external id", external_id)} if isinstance(external_id, str) else set()
        case Upsert():
            return {("external id", operation.external_id)}
        case _:
            return {("record", operation.id)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncItem:
    """One record of a sync.

    Without a patch it is to be deleted, and is named by id or external id. A patch with `delete` names the records to
    delete by type and value.
    """

    id: str | None = None
    external_id: str | None = None
    patch: Patch | None = None
    etag: str = ""
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Sync:
    """Make the records of a client what the items say; `replace` deletes those that no item matches."""

    client_id: str
    items: tuple[SyncItem, ...]
    replace: bool
