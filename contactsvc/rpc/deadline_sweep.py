"""Deadlines of running tasks, watched by one timer for all of them.

A timer for each, as asyncio.timeout sets it, costs four times as much (docs/measurements.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded

T = TypeVar("T")

_SWEEP_SECONDS: Final = 0.02


class DeadlineSweep:
    """Cancels what has passed its deadline, up to 20 ms later."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, work: Coroutine[Any, Any, T], task: asyncio.Task[Any]) -> T:
        """Return the result of a coroutine, which is cancelled once the deadline of the call has passed.

        Args:
            work: the coroutine.
            task: the task that runs; only one coroutine at a time may be watched in it.

        Raises:
            DeadlineExceeded: the deadline has passed.
        """
        end = deadlines.when()
        if end is None:
            return await work
        self._ends[task] = end
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        try:
            return await work
        except asyncio.CancelledError:
            # Cancelled here, and by nobody else.
            if task in self._ends or task.cancelling() > 1:
                raise
            raise DeadlineExceeded from None
        finally:
            if self._ends.pop(task, None) is None:
                task.uncancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in [task for task, end in self._ends.items() if end <= now]:
            del self._ends[task]
            task.cancel()
        self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._ends else None
