"""What came of a write."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from contactsvc.domain.kinds import Slot
from contactsvc.errors import ContactsvcError


class Action(StrEnum):
    """What was done with a record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an operation.

    Attributes:
        action: what was done.
        id: with which record.
        demoted_ids: the records that lost the primary flag to it.
        promoted_id: the record that became primary in place of a deleted one.
        count: how many records, of a write that is about all of a client's and names none.
        claimed: the primary slot that the operation asked for by name.
    """

    action: Action
    id: str
    demoted_ids: tuple[str, ...] = ()
    promoted_id: str | None = None
    count: int = 1
    claimed: Slot | None = field(default=None, compare=False)


Outcome = Applied | ContactsvcError
"""What came of an operation, or why nothing did."""
