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
class VerificationOutcome:
    """What the start or the check of a verification came to.

    Attributes:
        challenge_id: the challenge.
        verified: whether the code was right; None for a start.
        attempts_left: wrong codes that may still be given, as it was answered.
    """

    challenge_id: str
    verified: bool | None
    attempts_left: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What an operation did. Holds no contact data, since it outlives records that are erased.

    Attributes:
        action: what was done.
        id: the record's id; empty for a write that concerns all records of a client.
        demoted_ids: the records that lost the primary flag to it.
        promoted_id: the record that became primary in place of a deleted one.
        count: the number of records.
        verification: what a verification came to.
    """

    action: Action
    id: str
    demoted_ids: tuple[str, ...] = ()
    promoted_id: str | None = None
    count: int = 1
    verification: VerificationOutcome | None = None


Outcome = Applied | ContactsvcError
"""What an operation did, or why it failed."""
