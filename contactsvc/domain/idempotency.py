"""Idempotency records: requests that were carried out, kept so that a repeated write does not write twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contactsvc.domain.outcomes import Outcome

RETENTION = timedelta(hours=24)
"""How long a request is kept."""

# A control character, which no request_id of a caller contains.
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class RequestFingerprint:
    """Identifies a request.

    Attributes:
        id: its request_id, within the API key that sent it: see `request_id_within`.
        digest: a digest of the request.
        former_digests: with secrets other than the current one, for a keyed digest. Not stored.
    """

    id: str
    digest: bytes
    former_digests: frozenset[bytes] = field(default=frozenset(), compare=False, repr=False)

    def repeats(self, stored: RequestFingerprint) -> bool:
        """Return whether a request is the same as the one that was stored."""
        return self.id == stored.id and stored.digest in {self.digest, *self.former_digests}


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


def request_id_within(key_id: str | None, request_id: str) -> str:
    """Return the id under which a request is stored: two keys never share one.

    Callers without a key have those that release 0.1.0 stored for all callers. A rotation keeps the id of the key, and
    so its requests.
    """
    return request_id if key_id is None else f"{key_id}{_SEPARATOR}{request_id}"


class RequestAlreadyApplied(Exception):
    """The request was carried out before. Never leaves the use cases."""


def unexpired(requests: Iterable[IdempotencyRecord], now: datetime) -> tuple[IdempotencyRecord, ...]:
    """Return the records that have not expired."""
    return tuple(request for request in requests if request.expires_at > now)
