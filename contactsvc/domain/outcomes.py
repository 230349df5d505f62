"""Outcomes of writes, by ids: what is kept with a request, so that a repetition gets the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contactsvc.errors import ContactsvcError


class Action(StrEnum):
    """What was done with a record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Applied:
    """What an operation did. Holds no contact data, since it outlives records that are erased.

    Attributes:
        action: what was done.
        id: the record's id; empty for a write that concerns all records of a client.
        demoted_ids: the records that lost the primary flag to it.
        promoted_id: the record that became primary in place of a deleted one.
        count: the number of records.
    """

    action: Action
    id: str
    demoted_ids: tuple[str, ...] = ()
    promoted_id: str | None = None
    count: int = 1


Outcome = Applied | ContactsvcError
"""What an operation did, or why it failed."""
