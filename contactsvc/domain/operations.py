"""The writes that callers can ask for."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

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


Operation = Create | Update | Delete | Upsert


def slot_claimed_by(operation: Operation) -> Slot | None:
    """Return the primary slot that an operation claims, where that can be told without reading records."""
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
        case Update() | Delete():
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
