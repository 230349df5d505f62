"""Lines of tasks that wait for room, such as bytes of a budget or a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class WaitingLine:
    """Tasks that wait for room, served in the order of their arrival as far as they fit."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], tuple[Callable[[], bool], Callable[[], float]]] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(
        self,
        take: Callable[[], bool],
        give_back: Callable[[], None],
        seconds: float,
        *,
        rank: Callable[[], float] = lambda: 0,
    ) -> bool:
        """Wait until there is room, and take it; return False when the time is over.

        Args:
            take: takes the room and returns True, or returns False when there is too little.
            give_back: gives back what was taken for a task that was cancelled at that moment.
            seconds: the longest wait.
            rank: those of the lowest rank are served first.
        """
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[served] = take, rank
        try:
            await asyncio.wait({served}, timeout=seconds)
            return served.done()
        except asyncio.CancelledError:
            if served.done():
                give_back()
            raise
        finally:
            self._waiters.pop(served, None)
            served.cancel()

    def serve(self) -> None:
        """Serve the waiters that fit now; call it whenever room has become free."""
        for served, (take, _) in sorted(self._waiters.items(), key=lambda waiter: waiter[1][1]()):
            if take():
                del self._waiters[served]
                served.set_result(None)
