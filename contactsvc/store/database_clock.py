"""The time of the database.

Idempotency records are kept for 24 hours. A process whose own clock is wrong would drop those of others too early, or
have its own removed at once by the database, so every process follows the database's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from contactsvc.domain.clock import Clock, now_utc

_MAX_DIFFERENCE_SECONDS = 60.0
_MAX_DELAY = timedelta(seconds=5)


class DatabaseClock:
    """Runs on from the last reading of the database's clock; before the first reading, from the process's clock.

    Args:
        now: the clock of the process.
        monotonic: seconds of a clock that is never set.
    """

    def __init__(self, now: Clock = now_utc, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._reading: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Return the present time of the database, in UTC, cut to milliseconds."""
        if self._reading is None:
            return self._now()
        read, at = self._reading
        return read + timedelta(milliseconds=int((self._monotonic() - at) * 1000))

    def read(self, hello: dict[str, object]) -> None:
        """Take over the time in a reply to `hello`.

        Replies are late, never early. A reading that would set the clock back by a little was only later than the one
        before, and is ignored.
        """
        local_time = hello.get("localTime")
        if not isinstance(local_time, datetime):
            return
        if local_time.tzinfo is None:
            # The drivers decode replies to commands without the client's options.
            local_time = local_time.replace(tzinfo=UTC)
        local_time = local_time.replace(microsecond=local_time.microsecond // 1000 * 1000)
        if self._reading is None or not timedelta(0) < self() - local_time < _MAX_DELAY:
            self._reading = local_time, self._monotonic()

    @property
    def warning(self) -> str | None:
        """A message for the operator when the two clocks differ by more than a minute."""
        difference = (self._now() - self()).total_seconds()
        if abs(difference) <= _MAX_DIFFERENCE_SECONDS:
            return None
        direction = "ahead of" if difference > 0 else "behind"
        return (
            f"the clock of this machine is {abs(difference):.0f} s {direction} that of the database, which is used for "
            f"timestamps and idempotency records; API keys expire by the clock of this machine: set the clocks"
        )
