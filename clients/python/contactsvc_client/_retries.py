"""Repetition of calls that the service refuses as OVERLOADED, with nothing done.

gRPC itself repeats calls while the service is unavailable (_channels.py), but cannot tell OVERLOADED from the other
reasons of RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import random
import time

from contactsvc_client._errors import ContactsError, RateLimitError

_INITIAL_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0
_JITTER = 0.2


class OverloadRetries:
    """The retries of one call that is refused as OVERLOADED; they end with the timeout of the call.

    Args:
        enabled: whether to retry at all.
        deadline: the end of the call, by `time.monotonic`.
    """

    def __init__(self, *, enabled: bool, deadline: float) -> None:
        self._enabled = enabled
        self._deadline = deadline
        self._refusals = 0

    def delay(self, error: ContactsError) -> float | None:
        """Count a failure; return the seconds until the next attempt, or None if there is none."""
        if not self._enabled or not isinstance(error, RateLimitError) or error.reason != "OVERLOADED":
            return None
        backoff = min(_INITIAL_BACKOFF_SECONDS * 2**self._refusals, _MAX_BACKOFF_SECONDS)
        self._refusals += 1
        # The delay also grows, and varies: all refused callers return after the same `retry_after`. Never less than it.
        delay = max(error.retry_after or 0.0, backoff) * (1 + random.random() * _JITTER)  # noqa: S311 - no secret
        return delay if time.monotonic() + delay < self._deadline else None
