"""The contact method itself, and what a change makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue, Slot, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMethod:
    """A contact method as stored; times are aware, in UTC, with millisecond precision.

    `requests` are the requests that wrote it, remembered with it; no part of what callers see or of what is compared.
    """

    id: str
    client_id: str
    type: ContactMethodType
    value: ContactValue
    label: str | None
    is_primary: bool
    verified_at: datetime | None
    external_id: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    etag: str
    requests: tuple[IdempotencyRecord, ...] = field(default=(), compare=False, repr=False)

    @property
    def slot(self) -> Slot:
        """The primary slot that this record competes for."""
        return self.client_id, self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContactMethod:
    """A valid request for a new contact method."""

    client_id: str
    type: ContactMethodType
    value: ContactValue
    label: str | None
    is_primary: bool
    external_id: str | None
    metadata: Mapping[str, str]

    @property
    def slot(self) -> Slot:
        """The primary slot that the record will compete for."""
        return self.client_id, self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataChange:
    """Pairs to set and keys to remove, upon the present pairs or (`replace`) upon none."""

    set: Mapping[str, str]
    remove: frozenset[str]
    replace: bool

    def applied_to(self, present: Mapping[str, str]) -> Mapping[str, str]:
        """Return the pairs after the change."""
        kept = {} if self.replace else {key: value for key, value in present.items() if key not in self.remove}
        return {**kept, **self.set}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMethodChange:
    """A valid request to change a contact method; UNSET fields are left alone, None clears."""

    type: ContactMethodType | Unset = UNSET
    value: str | Unset = UNSET
    label: str | Unset | None = UNSET
    is_primary: bool | Unset = UNSET
    external_id: str | Unset | None = UNSET
    metadata: MetadataChange | Unset = UNSET


def changed(present: ContactMethod, fields: Mapping[str, object], *, now: datetime, etag: str) -> ContactMethod:
    """Return `present` with `fields`, or `present` itself when nothing differs.

    The verification belongs to the type and the normalized value, and goes when either changes. A record never becomes
    older by a change, even when the clock steps back.
    """
    after: ContactMethod = replace(present, **fields)  # type: ignore[arg-type]
    if after == present:
        return present
    same_target = (after.type, after.value.normalized) == (present.type, present.value.normalized)
    if after.value.normalized is None and after.value.text != present.value.text:
        # Without a normalized form the text is all there is to compare.
        same_target = False
    return replace(
        after,
        verified_at=present.verified_at if same_target else None,
        updated_at=max(now, present.updated_at),
        etag=etag,
    )
