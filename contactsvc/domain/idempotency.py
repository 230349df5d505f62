"""Idempotency records: requests that were carried out, kept so that a repeated write does not write twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from contactsvc.domain.outcomes import Outcome

RETENTION = timedelta(hours=24)
"""How long a request is kept."""


@dataclass(frozen=True, slots=True)
class RequestFingerprint:
    """The request_id of a request, and a digest of everything else in it."""

    id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """A request that was carried out. Holds ids and no contact data, since it outlives erased records.

    Attributes:
        fingerprint: identifies the request.
        at: when it was carried out.
        outcomes: the outcome of each of its items.
    """

    fingerprint: RequestFingerprint
    at: datetime
    outcomes: tuple[Outcome, ...]

    @property
    def expires_at(self) -> datetime:
        """When it expires."""
        return self.at + RETENTION


class RequestAlreadyApplied(Exception):
    """The request was carried out before. Never leaves the use cases."""


def unexpired(requests: Iterable[IdempotencyRecord], now: datetime) -> tuple[IdempotencyRecord, ...]:
    """Return the records that have not expired."""
    return tuple(request for request in requests if request.expires_at > now)
