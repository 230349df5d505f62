"""A limit on the rate of calls with one API key, by token bucket."""

from __future__ import annotations

import math
from collections.abc import Callable

from contactsvc.errors import Overloaded
from contactsvc.rpc.auth import Caller
from contactsvc.telemetry.limit import Limit

# Far above the rounding error of a monotonic clock, and far below the shortest interval between calls.
_ROUNDING_SECONDS = 1e-7


class RateLimiter:
    """Admits the calls of each API key at its rate, in this process.

    A bucket holds the tokens of one second, and at least one; it starts full. A call of any size takes one token.
    Callers without a key, health checks and reflection are exempt.

    Args:
        default_rate: calls per second of a key that has no rate of its own; 0 for no limit.
        monotonic: a clock in seconds.
        on_rejected: receives the limit for every rejected call.
    """

    def __init__(
        self, default_rate: float, *, monotonic: Callable[[], float], on_rejected: Callable[[Limit], None]
    ) -> None:
        self._default_rate = default_rate
        self._monotonic = monotonic
        self._on_rejected = on_rejected
        # The time at which the bucket of a key is full again: all that is to be known of it (GCRA). Keys are few.
        self._full_at: dict[str, float] = {}

    def take(self, caller: Caller) -> None:
        """Take a token.

        Raises:
            Overloaded: there is none; `retry_after` is the time until there is one.
        """
        rate = self._default_rate if caller.rate is None else caller.rate
        if caller.key_id is None or rate <= 0:
            return
        now, interval = self._monotonic(), 1 / rate
        full_at = max(now, self._full_at.get(caller.key_id, now)) + interval
        wait = full_at - now - max(1.0, interval)
        if wait > _ROUNDING_SECONDS:
            self._on_rejected(Limit.RATE)
            # Rounded up to the unit of the pushback.
            raise Overloaded.by_rate(rate, math.ceil(wait * 1000) / 1000)
        self._full_at[caller.key_id] = full_at
