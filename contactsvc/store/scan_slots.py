"""Slots for long reads: how many slices of them the database works on at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# A database that does not answer must not hold up the end of the process.
_LAST_SLICES_TIMEOUT_SECONDS = 1.0


class ScanSlots:
    """Slots in which slices of long reads are executed, in the order of their arrival.

    A slice that has begun runs to its end, also when nobody waits for it any more: databases do not stop at the wish of
    a client, and the driver would close its connection. Its slot is in use until then.

    Args:
        count: the number of slots.
    """

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Read a slice as soon as there is a free slot."""
        await self._free.acquire()
        return await self._to_the_end(read, lambda _: self._free.release())

    async def run_at_once(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Read a slice without a slot."""
        return await self._to_the_end(read, lambda _: None)

    async def close(self, timeout: float = _LAST_SLICES_TIMEOUT_SECONDS) -> None:
        """Wait for the slices that are being read, but no longer than some seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
        for task in self._running:
            task.cancel()

    async def _to_the_end(
        self, read: Callable[[], Coroutine[Any, Any, T]], ended: Callable[[asyncio.Task[T]], None]
    ) -> T:
        task = asyncio.create_task(read())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(ended)
        task.add_done_callback(_retrieve_failure)
        return await asyncio.shield(task)


def _retrieve_failure(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a slice also when nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
