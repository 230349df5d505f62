"""Ids of contact methods: `contact_` and 26 characters of Crockford's base32 that sort by time.

The 128 bits are laid out as in a ULID (github.com/ulid/spec): 48 bits of Unix time in milliseconds, 80 random bits.
Within a process each id is greater than the one before, also within one millisecond and when the clock steps back.
"""

from __future__ import annotations

import os
import re

from contactsvc.domain.clock import Clock, now_utc

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Two characters, ten bits, at a time.
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_FORM = re.compile(f"contact_[{_ALPHABET}]{{26}}")
_RANDOM_BITS = 80
# Random bytes are fetched in blocks: each fetch releases the interpreter to other threads, which costs a call more than
# everything else about an id.
_BLOCK_BYTES = 4096


class _Randomness:
    """Random bytes of the operating system, fetched in blocks. Not for secrets: bytes to come lie in memory."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """Return `count` random bytes, none of them twice."""
        at, end = self._at, self._at + count
        if end > len(self._bytes):
            self._bytes = os.urandom(_BLOCK_BYTES)
            at, end = 0, count
        self._at = end
        return self._bytes[at:end]


_random_bytes = _Randomness()


def new_etag() -> str:
    """Return a random etag, so that no two states of a record, or of a restored copy of it, share one."""
    return _random_bytes(8).hex()


def new_request_id() -> str:
    """Return a request id for a call that came without one."""
    return _random_bytes(16).hex()


def id_of_number(number: int) -> str:
    """Return the id of a number of 128 bits; greater numbers have greater ids."""
    return "contact_" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def is_contact_method_id(id_: object) -> bool:
    """Return whether an id has the form that the service makes; imported ones may have another."""
    return isinstance(id_, str) and _FORM.fullmatch(id_) is not None


class ContactMethodIds:
    """Makes ids; one instance per process."""

    def __init__(self, clock: Clock = now_utc) -> None:
        self._clock = clock
        self._last = 0

    def __call__(self) -> str:
        """Return a new id, greater than all ids that this instance has made."""
        milliseconds = int(self._clock().timestamp() * 1000)
        number = milliseconds << _RANDOM_BITS | int.from_bytes(_random_bytes(_RANDOM_BITS // 8))
        if number <= self._last:
            # A lower draw in the same millisecond, or the clock stepped back: increment by an unpredictable amount.
            number = self._last + 1 + int.from_bytes(_random_bytes(4))
        self._last = number
        return id_of_number(number)
