"""The basic kinds: environments, types, values, primary slots, and the mark of an absent field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Environment(StrEnum):
    """An isolated set of contact methods; its value is the name that callers use."""

    LIVE = "live"
    TEST = "test"


class ContactMethodType(StrEnum):
    """The kinds of contact method."""

    EMAIL = "email"
    PHONE = "phone"
    FAX = "fax"
    OTHER = "other"

    # That of Enum is a Python function, called for every slot, and for every record of an answer.
    __hash__ = str.__hash__


class Unset:
    """The type of `UNSET`, which marks a field that is absent from a request."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()

Slot = tuple[str, ContactMethodType]
"""A client and a type, of which at most one record is primary."""


@dataclass(frozen=True, slots=True)
class ContactValue:
    """A value as written, and its normal form, by which it is compared; None where it could not be parsed (lenient)."""

    text: str
    normalized: str | None


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """A value that today's rules refuse, and the rule that it breaks.

    A request about a record that has the same text already, stored under other rules, is not refused for it.
    """

    text: str
    rule: str
