"""The deadline of the current call, for everything that waits on its behalf.

A context variable carries it, because the layers between rpc and the database would only pass it on.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from contactsvc.errors import DeadlineExceeded

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def begin(seconds: float | None) -> None:
    """Set the deadline of the current task and of tasks that it creates, in seconds from now; None means none."""
    _deadline.set(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def begin_until(when: float | None) -> None:
    """Set the deadline of the current task, on the clock of the event loop; None means none."""
    _deadline.set(when)


def when() -> float | None:
    """Return the deadline on the clock of the event loop; None without one."""
    return _deadline.get()


def remaining() -> float | None:
    """Return the seconds left, at least 0; None without a deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


def remaining_ms() -> int | None:
    """Return the whole milliseconds left, at least 1; None without a deadline.

    Raises:
        DeadlineExceeded: no time is left.
    """
    deadline = _deadline.get()
    if deadline is None:
        return None
    left = deadline - asyncio.get_running_loop().time()
    if left <= 0:
        raise DeadlineExceeded
    return max(1, int(left * 1000))
