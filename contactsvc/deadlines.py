"""The deadline of the call that is being served, for whoever waits on its behalf.

It is carried in a context variable, since every layer between the call and the database would only pass it on.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from contactsvc.errors import DeadlineExceeded

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def begin(seconds: float | None) -> None:
    """Set the deadline of the current task and of the tasks that it makes; None is none."""
    _deadline.set(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def begin_until(when: float | None) -> None:
    """Set the deadline of the current task as a time on the clock of the event loop; None is none."""
    _deadline.set(when)


def when() -> float | None:
    """Return the deadline on the clock of the event loop; None is none."""
    return _deadline.get()


def remaining() -> float | None:
    """Return how many seconds are left, none below zero; None means that there is no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


def remaining_ms() -> int | None:
    """Return how many whole milliseconds are left, at least one; None means that there is no deadline.

    Raises:
        DeadlineExceeded: none is left.
    """
    deadline = _deadline.get()
    if deadline is None:
        return None
    left = deadline - asyncio.get_running_loop().time()
    if left <= 0:
        raise DeadlineExceeded
    return max(1, int(left * 1000))
