"""The contact method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

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


def changed(present: ContactMethod, fields: Mapping[str, object], *, now: datetime, etag: str) -> ContactMethod:
    """Return `present` with `fields`, or `present` itself when nothing differs.

    The verification and its challenge belong to type and normalized value, and go when either changes. `updated_at`
    never decreases, even when the clock steps back.
    """
    after: ContactMethod = replace(present, **fields)  # type: ignore[arg-type]
    if after == present:
        return present
    same_target = (after.type, after.value.normalized) == (present.type, present.value.normalized)
    if after.value.normalized is None and after.value.text != present.value.text:
        # Without a normal form the text is what is compared.
        same_target = False
    if not same_target:
        after = replace(after, verified_at=None, verification_method=None, challenge=None)
    return replace(after, updated_at=max(now, present.updated_at), etag=etag)
