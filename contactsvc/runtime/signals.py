"""What tells a process to stop: SIGTERM and SIGINT, or a supervisor in their place."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from enum import Enum, auto


class Sender(Enum):
    """Who tells a process to stop: the operating system, for whoever sends signals, or the supervisor."""

    SYSTEM = auto()
    SUPERVISOR = auto()


class Signals:
    """Signals to stop, one after the other; made inside the running event loop.

    Attributes:
        started: whether the service has started, so that signals are for the drain.
    """

    def __init__(self) -> None:
        self.started = False
        self._count = 0
        self._arrived: asyncio.Queue[Sender] = asyncio.Queue()
        self._first = asyncio.Event()
        self._abandoned = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._take, Sender.SYSTEM)

    def _take(self, sender: Sender) -> None:
        self._count += 1
        self._arrived.put_nowait(sender)
        self._first.set()

    def amount_to(self, count: int) -> None:
        """See to it that at least so many have arrived: what a supervisor passes on may have come by itself as well."""
        while self._count < count:
            self._take(Sender.SUPERVISOR)

    def abandon(self) -> None:
        """Stop because the supervisor has gone, without waiting for balancers to turn away."""
        self._abandoned.set()
        self.amount_to(1)

    async def wait_unless_abandoned(self, seconds: float) -> None:
        """Sleep, but no longer than there is a supervisor."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._abandoned.wait()

    async def before_start(self) -> None:
        """Wait for the first signal of all."""
        await self._first.wait()

    async def next(self) -> Sender:
        """Wait for the next signal that nobody has waited for, and return who has sent it."""
        return await self._arrived.get()
