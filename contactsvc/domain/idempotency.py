"""The memory of requests that have been carried out, so that a write can be repeated without writing twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from contactsvc.domain.outcomes import Outcome

MEMORY = timedelta(hours=24)
"""How long a request is remembered."""


@dataclass(frozen=True, slots=True)
class RequestFingerprint:
    """The request_id of a caller, and a digest of all else that the request says."""

    id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """A request that was carried out. Holds ids, but no contact data: it outlives records that are erased.

    Attributes:
        mark: which request.
        at: when.
        outcomes: what became of each of its items.
    """

    mark: RequestFingerprint
    at: datetime
    outcomes: tuple[Outcome, ...]

    @property
    def forget_at(self) -> datetime:
        """When it is to be forgotten."""
        return self.at + MEMORY


class RequestAlreadyApplied(Exception):
    """The request has been carried out before: it is remembered. Never leaves the use cases."""


def unexpired(requests: Iterable[IdempotencyRecord], now: datetime) -> tuple[IdempotencyRecord, ...]:
    """Return the requests that are still to be remembered."""
    return tuple(request for request in requests if request.forget_at > now)
