"""Lists: filter, order and page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType

# The records of more clients cost about as much as a scan.
_MAX_SELECTIVE_CLIENTS: Final = 50


class SortField(StrEnum):
    """A field that records can be sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of a sort order."""

    field: SortField
    descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """A half-open range of time; None leaves an end open."""

    at_or_after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The records to find: all conditions must hold, of a tuple any element. Empty and None are no condition.

    `values` holds pairs of type and normalized value, and `written_values` pairs of type and written form, by which
    values without a normal form are found; a record must match one pair of either. None is no condition.
    """

    ids: tuple[str, ...] = ()
    client_ids: tuple[str, ...] = ()
    types: tuple[ContactMethodType, ...] = ()
    values: tuple[tuple[ContactMethodType, str], ...] | None = None
    written_values: tuple[tuple[ContactMethodType, str], ...] = ()
    value_contains: str = ""
    is_primary: bool | None = None
    is_verified: bool | None = None
    external_ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: TimeRange = TimeRange()
    updated: TimeRange = TimeRange()

    @property
    def is_selective(self) -> bool:
        """Whether it names what few records have, by which they are found."""
        return bool(
            self.ids
            or self.external_ids
            or self.values is not None
            or 0 < len(self.client_ids) <= _MAX_SELECTIVE_CLIENTS
        )


OLDEST_FIRST = (SortKey(SortField.CREATED_AT, descending=False),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A request for one page of a list."""

    filter: Filter
    sort: tuple[SortKey, ...] = OLDEST_FIRST
    page_size: int
    page_token: str = ""
    offset: int = 0
    include_total_size: bool = False

    @property
    def is_scan(self) -> bool:
        """Whether it may read many more records than it returns."""
        return not self.filter.is_selective or self.offset > 0 or self.include_total_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of records; an empty token means that it is the last."""

    contact_methods: list[ContactMethod]
    next_page_token: str
    total_size: int | None = None
