"""The change set of a write: what has to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The records that a write adds, changes and deletes.

    Attributes:
        inserted: new records.
        replaced: changed records, before and after.
        removed: deleted records; their `requests` are kept.
        idempotency_records: requests to be kept in documents of their own.
        revived: deleted records that return under their ids, with the `requests` that were kept of them.
    """

    inserted: Sequence[ContactMethod]
    replaced: Sequence[tuple[ContactMethod, ContactMethod]]
    removed: Sequence[ContactMethod]
    idempotency_records: Sequence[tuple[IdempotencyRecord, ...]]
    revived: Sequence[ContactMethod] = ()

    def __len__(self) -> int:
        """Return the number of documents to write."""
        return (
            len(self.inserted)
            + len(self.replaced)
            + len(self.removed)
            + len(self.idempotency_records)
            + len(self.revived)
        )

    @property
    def contested(self) -> set[Slot]:
        """The primary slots whose primary changes."""
        versions = [
            *self.inserted,
            *self.revived,
            *self.removed,
            *(version for pair in self.replaced for version in pair),
        ]
        return {version.slot for version in versions if version.is_primary}
