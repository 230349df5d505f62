"""Stop signals of a process: SIGTERM and SIGINT, or their relay from a supervisor."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum, auto
from typing import Any

_log = logging.getLogger(__name__)


class Sender(Enum):
    """Source of a stop signal."""

    SYSTEM = auto()
    SUPERVISOR = auto()


class Signals:
    """Queue of stop signals. Create it inside the running event loop.

    Attributes:
        started: whether the service has started; from then on its own shutdown consumes the signals.
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

    def raise_to(self, count: int) -> None:
        """Raise the total to at least `count`: a signal that the supervisor relays may also have arrived directly."""
        while self._count < count:
            self._take(Sender.SUPERVISOR)

    def abandon(self) -> None:
        """Stop because the supervisor has exited; ends the wait for load balancers."""
        self._abandoned.set()
        self.raise_to(1)

    async def wait_unless_abandoned(self, seconds: float) -> None:
        """Sleep, but wake up when the supervisor exits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._abandoned.wait()

    async def first(self) -> None:
        """Wait for the first signal, without consuming it."""
        await self._first.wait()

    async def next(self) -> Sender:
        """Consume the next signal and return its source."""
        return await self._arrived.get()


async def run_until_early_stop(
    service: Coroutine[Any, Any, None], signals: Signals, *, cancel_timeout: float | None = None
) -> bool:
    """Run a service, and cancel it when a signal arrives before it has started.

    Args:
        service: sets `signals.started` once it handles signals itself.
        signals: the stop signals.
        cancel_timeout: seconds to wait for a cancelled service; None waits until it has ended.

    Returns:
        Whether the service has ended. False means that it ignored its cancellation for `cancel_timeout` seconds.
    """
    serving = asyncio.create_task(service)
    early = asyncio.create_task(signals.first())
    await asyncio.wait([serving, early], return_when=asyncio.FIRST_COMPLETED)
    early.cancel()
    if serving.done() or signals.started:
        await serving
        return True
    _log.info("stopped before the service had started")
    serving.cancel()
    await asyncio.wait([serving], timeout=cancel_timeout)
    if serving.done() and not serving.cancelled() and (error := serving.exception()) is not None:
        _log.warning("the interrupted start failed", exc_info=error)
    return serving.done()


def describe_exit(code: int) -> str:
    """Return how a process ended, from its return code: "by signal SIGKILL" or "with exit code 1"."""
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
