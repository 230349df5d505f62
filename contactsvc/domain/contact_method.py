"""The contact method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Slot
from contactsvc.domain.verification import Challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMethod:
    """A contact method as stored; times are aware, in UTC, with millisecond precision.

    Callers do not see `challenge`, the running verification of its value, nor `requests`, the idempotency records of
    requests that wrote it; the latter are not compared.
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
    verification_method: str | None = None
    challenge: Challenge | None = field(default=None, repr=False)
    requests: tuple[IdempotencyRecord, ...] = field(default=(), compare=False, repr=False)

    @property
    def slot(self) -> Slot:
        """The primary slot that this record competes for."""
        return self.client_id, self.type


_content = attrgetter(
    *(field.name for field in fields(ContactMethod) if field.compare and field.name not in {"updated_at", "etag"})
)


def same_content(one: ContactMethod, other: ContactMethod) -> bool:
    """Return whether two versions of a record differ at most in their etags and times of change."""
    return bool(_content(one) == _content(other))


def changed(present: ContactMethod, fields: Mapping[str, object], *, now: datetime, etag: str) -> ContactMethod:
    """Return `present` with `fields`, or `present` itself when nothing differs.

    The verification and its challenge belong to type and normalized value, and go when either changes. `updated_at`
    never decreases, even when the clock steps back.
    """
    # Copying a record costs more than all comparisons, so there is one copy, with all that differs.
    differing = {name: value for name, value in fields.items() if getattr(present, name) != value}
    if not differing:
        return present
    type_: object = differing.get("type", present.type)
    value: Any = differing.get("value", present.value)
    same_target = (type_, value.normalized) == (present.type, present.value.normalized)
    if value.normalized is None and value.text != present.value.text:
        # Without a normal form the text is what is compared.
        same_target = False
    if not same_target:
        differing |= {"verified_at": None, "verification_method": None, "challenge": None}
    differing |= {"updated_at": max(now, present.updated_at), "etag": etag}
    after: ContactMethod = replace(present, **differing)  # type: ignore[arg-type]
    return after
