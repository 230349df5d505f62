"""What a write has to store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What has to be stored.

    Attributes:
        inserted: new records.
        replaced: changed records, before and after.
        removed: deleted records; their `requests` must go on being remembered.
        memories: requests to be remembered apart from records.
        revived: records that were deleted and come back under their ids; their `requests` are what is remembered of
            them.
    """

    inserted: Sequence[ContactMethod]
    replaced: Sequence[tuple[ContactMethod, ContactMethod]]
    removed: Sequence[ContactMethod]
    memories: Sequence[tuple[IdempotencyRecord, ...]]
    revived: Sequence[ContactMethod] = ()

    def __len__(self) -> int:
        """Return how many documents have to be written."""
        return len(self.inserted) + len(self.replaced) + len(self.removed) + len(self.memories) + len(self.revived)

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
