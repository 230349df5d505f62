"""A closed loop of calls, independent of the protocol: the next request, latencies and errors, the end of all calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter

PLACEHOLDER = "new-in-each-call".ljust(32, "-")
"""Text in a request that each call replaces by random text of the same length."""

_RANDOM_BYTES = len(PLACEHOLDER) // 2


class ClosedLoop:
    """Hands out requests and records the outcomes.

    Args:
        requests: used one after the other, again and again; `PLACEHOLDER` in them is replaced.
        max_calls: how many calls to make; None until `stop`.
        keep: whether to keep the bodies of the answers.
    """

    def __init__(self, requests: Sequence[bytes], *, max_calls: int | None = None, keep: bool = False) -> None:
        self._requests = cycle([request.split(PLACEHOLDER.encode()) for request in requests])
        self._left = max_calls
        self._keep = keep
        self._in_flight = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._call_ended = asyncio.Event()
        self.bodies: list[bytes] = []
        self.latencies: list[float] = []
        self.errors = 0

    def next_request(self) -> bytes | None:
        """Return the next request, which is in flight from then on; None if there are no more."""
        if self._stopping or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        self._in_flight += 1
        parts = next(self._requests)
        return parts[0] if len(parts) == 1 else os.urandom(_RANDOM_BYTES).hex().encode().join(parts)

    def received(self, body: bytes) -> None:
        """Record a part of an answer."""
        if self._keep:
            self.bodies.append(body)

    def ended(self, started: float, *, succeeded: bool) -> None:
        """Record the end of a call that started at this time of `perf_counter`."""
        self._in_flight -= 1
        if succeeded:
            self.latencies.append(perf_counter() - started)
        else:
            self.errors += 1
        self._call_ended.set()
        if self._in_flight == 0 and (self._stopping or self._left == 0):
            self._idle.set()

    def reset(self) -> None:
        """Forget the outcomes of the warm-up."""
        self.latencies = []
        self.errors = 0

    def stop(self) -> None:
        """Hand out no more requests."""
        self._stopping = True
        if self._in_flight == 0:
            self._end_all()

    async def next_end(self) -> bool:
        """Wait until a call ends; return False if there will be no further call."""
        self._call_ended.clear()
        if not self._idle.is_set():
            await self._call_ended.wait()
        return not self._idle.is_set()

    async def all_ended(self) -> None:
        """Wait until no call is in flight and none will be."""
        await self._idle.wait()

    def _end_all(self) -> None:
        self._idle.set()
        self._call_ended.set()
