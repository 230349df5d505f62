"""The writes that callers can ask for."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from contactsvc.domain.contact_method import ContactMethodChange, MetadataChange, NewContactMethod
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue, Unset
from contactsvc.domain.primary import PrimaryDeletePolicy


@dataclass(frozen=True, slots=True)
class Update:
    """Change the record with this id; with an etag, only if it still has that."""

    id: str
    change: ContactMethodChange
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the record with this id; with an etag, only if it still has that."""

    id: str
    policy: PrimaryDeletePolicy = PrimaryDeletePolicy.LEAVE_NONE
    allow_missing: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A contact method as a caller's own system has it: all that it says of it, and UNSET where it says nothing."""

    type: ContactMethodType
    value: ContactValue
    label: str | Unset | None = UNSET
    is_primary: bool | Unset = UNSET
    external_id: str | Unset | None = UNSET
    metadata: MetadataChange | Unset = UNSET

    def as_new(self, client_id: str) -> NewContactMethod:
        """Return the new record that it describes; what it does not say is the default."""
        return NewContactMethod(
            client_id=client_id,
            type=self.type,
            value=self.value,
            label=None if isinstance(self.label, Unset) else self.label,
            is_primary=self.is_primary is True,
            external_id=None if isinstance(self.external_id, Unset) else self.external_id,
            metadata={} if isinstance(self.metadata, Unset) else self.metadata.applied_to({}),
        )

    def as_change(self) -> ContactMethodChange:
        """Return the change that makes a record what it describes; what it does not say stays."""
        return ContactMethodChange(
            type=self.type,
            value=self.value.text,
            label=self.label,
            is_primary=self.is_primary,
            external_id=self.external_id,
            metadata=self.metadata,
        )


@dataclass(frozen=True, slots=True)
class Upsert:
    """Create the record with this external id, or change the one that has it."""

    client_id: str
    external_id: str
    description: Description
    etag: str = ""


Operation = NewContactMethod | Update | Delete | Upsert


def contested_by(operation: Operation) -> set[Hashable]:
    """Return the record and the external id that an operation names, over which it may fight with others."""
    match operation:
        case NewContactMethod(external_id=str(external_id)) | Upsert(external_id=external_id):
            return {("external id", external_id)}
        case Update() | Delete():
            return {("record", operation.id)}
    return set()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncItem:
    """One record of a sync; without a description it is to be deleted, and is named by id or external id.

    A description with `delete` names the record to delete by its type and value.
    """

    id: str | None = None
    external_id: str | None = None
    description: Description | None = None
    etag: str = ""
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Sync:
    """Make the records of a client what the items say; `replace` deletes those that no item matches."""

    client_id: str
    items: tuple[SyncItem, ...]
    replace: bool
