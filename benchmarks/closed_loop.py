"""A closed loop of calls, whatever carries them: who asks next, how long the calls took, when all have ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter

_REQUEST_ID_FIELD = 8
_REQUEST_ID_LENGTH = 32
# A protobuf field: its number and wire type, its length. Appended to a message it is part of it.
_REQUEST_ID_PREFIX = bytes([_REQUEST_ID_FIELD << 3 | 2, _REQUEST_ID_LENGTH])


class ClosedLoop:
    """Hands out requests and keeps the outcomes.

    Args:
        requests: used one after the other, again and again.
        most: how many calls to make; None until `stop`.
        with_request_id: whether to append a fresh request_id, as field 8 of a protobuf message.
        keep: whether to keep the bodies of the answers.
    """

    def __init__(
        self, requests: Sequence[bytes], *, most: int | None = None, with_request_id: bool = False, keep: bool = False
    ) -> None:
        self._requests = cycle(requests)
        self._left = most
        self._with_request_id = with_request_id
        self._keep = keep
        self._in_flight = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self.bodies: list[bytes] = []
        self.latencies: list[float] = []
        self.errors = 0

    def next_request(self) -> bytes | None:
        """Return the next request, which is then in flight; None when there are no more."""
        if self._stopping or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        self._in_flight += 1
        request = next(self._requests)
        if self._with_request_id:
            request += _REQUEST_ID_PREFIX + os.urandom(_REQUEST_ID_LENGTH // 2).hex().encode()
        return request

    def received(self, body: bytes) -> None:
        """Take note of a part of an answer."""
        if self._keep:
            self.bodies.append(body)

    def ended(self, started: float, *, succeeded: bool) -> None:
        """Take note of the end of a call."""
        self._in_flight -= 1
        if succeeded:
            self.latencies.append(perf_counter() - started)
        else:
            self.errors += 1
        if self._in_flight == 0 and (self._stopping or self._left == 0):
            self._idle.set()

    def forget(self) -> None:
        """Begin to count anew: what was, was to warm up."""
        self.latencies = []
        self.errors = 0

    def stop(self) -> None:
        """Hand out no more requests."""
        self._stopping = True
        if self._in_flight == 0:
            self._idle.set()

    async def all_ended(self) -> None:
        """Wait until nothing is in flight and nothing will be."""
        await self._idle.wait()
