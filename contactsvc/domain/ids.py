"""Ids of contact methods: `contact_` and 26 characters of Crockford's base32 that sort by time.

The 128 bits are laid out as in a ULID (github.com/ulid/spec): 48 bits of Unix time in milliseconds, 80 random bits.
Within a process each id is greater than the one before, also within one millisecond and when the clock steps back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present time, aware and in UTC, cut to milliseconds (all that the store keeps)."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80


def now_utc() -> datetime:
    """Return the present time in UTC, cut to milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def new_etag() -> str:
    """Return a fresh etag: random, so that no two states of a record, or of its restored copy, ever share one."""
    return secrets.token_hex(8)


class ContactMethodIds:
    """Makes ids; one instance per process."""

    def __init__(self, clock: Clock = now_utc) -> None:
        self._clock = clock
        self._last = 0

    def __call__(self) -> str:
        """Return a new id, greater than all that this instance made before."""
        milliseconds = int(self._clock().timestamp() * 1000)
        number = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        if number <= self._last:
            # Drawn lower in the same millisecond, or the clock stepped back: count on, by a step that nobody can guess.
            number = self._last + 1 + secrets.randbits(32)
        self._last = number
        return "contact_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
