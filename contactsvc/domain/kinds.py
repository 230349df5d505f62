"""The words that everything else is said in: environments, types, values, primary slots, and fields that are absent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Environment(StrEnum):
    """A world of contact methods of its own: nothing crosses between two. Its value is what callers write."""

    LIVE = "live"
    TEST = "test"


class ContactMethodType(StrEnum):
    """The kinds of contact method."""

    EMAIL = "email"
    PHONE = "phone"
    FAX = "fax"
    OTHER = "other"


class Unset:
    """The type of `UNSET`, which says that a field is absent from a request."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()

Slot = tuple[str, ContactMethodType]
"""A client and a type: the place that at most one primary can take."""


@dataclass(frozen=True, slots=True)
class ContactValue:
    """A value as people write it, and the form in which it is compared (None: could not be parsed, lenient mode)."""

    text: str
    normalized: str | None
