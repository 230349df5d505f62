"""Lines of tasks that wait for room, such as bytes of a budget or a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from contactsvc import deadlines


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
        *,
        timeout: float,
        round_seconds: float,
        on_round: Callable[[], None],
        rank: Callable[[], float] = lambda: 0,
    ) -> bool:
        """Wait until there is room, and take it; return False when the time is over.

        That is before the deadline of the call, so that its caller learns why.

        Args:
            take: takes the room and returns True, or returns False when there is too little.
            give_back: gives back what was taken for a task that was cancelled at that moment.
            timeout: seconds of the longest wait.
            round_seconds: how often `on_round` is called meanwhile.
            on_round: called while there is no room.
            rank: those of the lowest rank are served first.
        """
        loop = asyncio.get_running_loop()
        remaining = deadlines.remaining()
        end = loop.time() + (timeout if remaining is None else min(timeout, 0.9 * remaining))
        served: asyncio.Future[None] = loop.create_future()
        self._waiters[served] = take, rank
        try:
            while not served.done() and (left := end - loop.time()) > 0:
                await asyncio.wait({served}, timeout=min(round_seconds, left))
                if not served.done():
                    on_round()
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
