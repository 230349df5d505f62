"""The primary rule: at most one primary per client and type, and no record loses the flag unless a request says so.

This module decides; a partial unique index of the store enforces the rule against races.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum, auto

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import UNSET, ContactMethodType, Slot, Unset


class PrimaryDeletePolicy(Enum):
    """What becomes of the flag when the primary is deleted."""

    LEAVE_NONE = auto()
    PROMOTE_NEXT = auto()
    REJECT = auto()


class FlagIntent(Enum):
    """What an update means for the flag of its record."""

    KEEP = auto()
    """Leave the flag as it is."""
    CLEAR = auto()
    """Take the flag away; the slot is left without a primary."""
    TAKE = auto()
    """Make the record primary, and demote the present one."""
    TAKE_IF_FREE = auto()
    """Move into another slot with the flag if that slot has no primary; lose the flag otherwise."""


def flag_intent(present: ContactMethod, requested: bool | Unset, new_type: ContactMethodType | Unset) -> FlagIntent:
    """Return what an update means for the flag."""
    changes_slot = not isinstance(new_type, Unset) and new_type is not present.type
    if requested is UNSET:
        return FlagIntent.TAKE_IF_FREE if present.is_primary and changes_slot else FlagIntent.KEEP
    if requested:
        return FlagIntent.KEEP if present.is_primary and not changes_slot else FlagIntent.TAKE
    return FlagIntent.CLEAR


def next_primary(candidates: Iterable[ContactMethod]) -> ContactMethod | None:
    """Return the record that follows a deleted primary: verified ones first, then the oldest."""
    return min(candidates, key=lambda cm: (cm.verified_at is None, cm.created_at, cm.id), default=None)


def rival_claims(claims: Iterable[tuple[str, Slot]]) -> list[list[str]]:
    """Return the groups of claimants of one slot, where a group has more than one."""
    claimants: defaultdict[Slot, list[str]] = defaultdict(list)
    for claimant, slot in claims:
        claimants[slot].append(claimant)
    return [group for group in claimants.values() if len(group) > 1]
