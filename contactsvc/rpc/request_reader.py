"""Reading of requests: a limited number at a time, within a limited time.

RPCs are registered with streaming requests, which are the same on the wire. So a handler begins when the headers of its
call have arrived, and decides whether the message may follow. Until it is read, HTTP/2's flow control holds the peer at
64 KiB per call; afterwards gRPC accepts a whole message, of up to 4 MiB, and keeps an unfinished one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import grpc

from contactsvc.errors import DeadlineExceeded, MalformedRequest, Overloaded
from contactsvc.telemetry.limit import Limit
from contactsvc.waiting import WaitingLine

READ_TIMEOUT_SECONDS = 10.0
_MAX_READS = 16
_MAX_READS_PER_OWNER = 4
# How long a call waits for its turn.
_TURN_TIMEOUT_SECONDS = 5.0
# A read that lasts longer ends when others wait for their turn: the requests of a few slow callers must not hold up
# everybody until their timeout. Small requests arrive together with their headers.
PRESSED_TIMEOUT_SECONDS = 1.0


class Readable(Protocol):
    """What is used here of gRPC's ServicerContext."""

    async def read(self) -> Any:
        """Return the next message; grpc.aio.EOF after the last."""


class RequestReader:
    """Reads the messages of requests.

    Args:
        on_rejected: receives the limit of every call that does not get its turn.
        timeout: seconds after which an unfinished request is given up.

    Attributes:
        reading: number of messages being read.
        begun: number of messages whose reading was begun.
    """

    def __init__(self, on_rejected: Callable[[Limit], None], *, timeout: float = READ_TIMEOUT_SECONDS) -> None:
        self._on_rejected = on_rejected
        self._timeout = timeout
        self._by_owner: Counter[str] = Counter()
        self._turns = WaitingLine()
        # In the order in which they were begun.
        self._reads: dict[asyncio.Task[Any], float] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self.reading = self.begun = 0

    @property
    def waiting(self) -> int:
        """Number of calls that wait for their turn."""
        return len(self._turns)

    async def read(self, context: Readable, owner: str, task: asyncio.Task[Any]) -> bytes:
        """Return the message of a request.

        Args:
            context: of the call.
            owner: whom the limit of reads at a time concerns: an API key or a connection.
            task: the task that runs.

        Raises:
            DeadlineExceeded: the message did not arrive in time.
            Overloaded: too many other messages are being read.
            MalformedRequest: there is no message.
        """
        if not self._enter(owner):
            await self._wait_for_turn(owner)
        self._reads[task] = monotonic()
        if self._sweep is None:
            # One timer for all reads: asyncio.timeout would cost a call more than everything else here.
            self._sweep = asyncio.get_running_loop().call_later(self._timeout, self._give_up_expired)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            # Given up here, and not cancelled by anybody else.
            if task in self._reads or task.uncancel():
                raise
            raise DeadlineExceeded from None
        finally:
            self._reads.pop(task, None)
            self._leave(owner)
        if message is grpc.aio.EOF:
            raise MalformedRequest("request")
        raw: bytes = message
        return raw

    def _enter(self, owner: str) -> bool:
        fits = self.reading < _MAX_READS and self._by_owner[owner] < _MAX_READS_PER_OWNER
        if fits:
            self.reading += 1
            self.begun += 1
            self._by_owner[owner] += 1
        return fits

    def _leave(self, owner: str) -> None:
        self.reading -= 1
        self._by_owner[owner] -= 1
        if not self._by_owner[owner]:
            del self._by_owner[owner]
        if self._turns:
            self._turns.serve()

    async def _wait_for_turn(self, owner: str) -> None:
        def on_round() -> None:
            if self.reading >= _MAX_READS:
                self._give_up_older_than(PRESSED_TIMEOUT_SECONDS, at_most=1)

        if await self._turns.wait(
            lambda: self._enter(owner),
            lambda: self._leave(owner),
            timeout=_TURN_TIMEOUT_SECONDS,
            round_seconds=PRESSED_TIMEOUT_SECONDS,
            on_round=on_round,
        ):
            return
        self._on_rejected(Limit.REQUESTS)
        raise Overloaded.by_requests()

    def _give_up_expired(self) -> None:
        self._sweep = None
        self._give_up_older_than(self._timeout)
        for begun in self._reads.values():
            left = max(0.0, begun + self._timeout - monotonic())
            self._sweep = asyncio.get_running_loop().call_later(left, self._give_up_expired)
            return

    def _give_up_older_than(self, seconds: float, at_most: int | None = None) -> None:
        latest = monotonic() - seconds
        for task, begun in list(self._reads.items())[:at_most]:
            if begun > latest:
                return
            del self._reads[task]
            task.cancel()
