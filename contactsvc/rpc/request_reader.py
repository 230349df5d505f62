"""Reading of requests: a limited number at a time, each within a limited time.

RPCs are registered with streaming requests, which are the same on the wire: a handler then begins when the headers of
its call have arrived, and decides whether the message may follow. Until it is read, HTTP/2's flow control holds the
peer at 64 KiB per call; afterwards gRPC accepts a whole message, of up to 4 MiB, and keeps an unfinished one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from contactsvc.errors import DeadlineExceeded, MalformedRequest, Overloaded
from contactsvc.rpc.age_limit import AgeLimit
from contactsvc.rpc.call_tasks import cancel_all
from contactsvc.telemetry.limit import Limit
from contactsvc.waiting import WaitingLine

READ_TIMEOUT_SECONDS = 10.0
_MAX_READS = 16
_MAX_READS_PER_OWNER = 4
# How long a call waits for its turn.
_TURN_TIMEOUT_SECONDS = 5.0
# Reads of this age end when others wait for their turn: the requests of a few slow callers must not hold up everybody
# until their timeout. Small requests arrive together with their headers.
PRESSED_TIMEOUT_SECONDS = 1.0


class Readable(Protocol):
    """The part of gRPC's ServicerContext that a read uses."""

    async def read(self) -> Any:
        """Return the next message; grpc.aio.EOF after the last."""


class RequestReader:
    """Reads the messages of requests.

    Args:
        on_rejected: receives the limit that rejected a call.
        timeout: seconds after which an unfinished request ends its call.

    Attributes:
        reading: number of messages being read.
        begun: number of reads begun so far.
    """

    def __init__(self, on_rejected: Callable[[Limit], None], *, timeout: float = READ_TIMEOUT_SECONDS) -> None:
        self._on_rejected = on_rejected
        self._by_owner: dict[str, int] = {}
        self._turns = WaitingLine()
        self._reads: AgeLimit[asyncio.Task[Any]] = AgeLimit(timeout, cancel_all)
        self.reading = self.begun = 0

    @property
    def waiting(self) -> int:
        """Number of calls that wait for their turn."""
        return len(self._turns)

    async def read(self, context: Readable, owner: str, task: asyncio.Task[Any]) -> bytes:
        """Return the message of a request.

        Args:
            context: the context of the call.
            owner: the API key or the connection whose limit of reads at a time applies.
            task: the running task.

        Raises:
            DeadlineExceeded: the message did not arrive in time.
            Overloaded: too many other messages are being read.
            MalformedRequest: there is no message.
        """
        if not self._enter(owner):
            await self._wait_for_turn(owner)
        self._reads.begin(task)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            # A read that has expired was cancelled here; anybody else may have cancelled it too.
            if self._reads.end(task) or task.uncancel():
                raise
            raise DeadlineExceeded from None
        finally:
            self._reads.end(task)
            self._leave(owner)
        if message is grpc.aio.EOF:
            raise MalformedRequest("request")
        raw: bytes = message
        return raw

    def _enter(self, owner: str) -> bool:
        reading = self._by_owner.get(owner, 0)
        fits = self.reading < _MAX_READS and reading < _MAX_READS_PER_OWNER
        if fits:
            self.reading += 1
            self.begun += 1
            self._by_owner[owner] = reading + 1
        return fits

    def _leave(self, owner: str) -> None:
        self.reading -= 1
        if remaining := self._by_owner[owner] - 1:
            self._by_owner[owner] = remaining
        else:
            del self._by_owner[owner]
        if self._turns:
            self._turns.serve()

    async def _wait_for_turn(self, owner: str) -> None:
        def on_round() -> None:
            if self.reading >= _MAX_READS:
                self._reads.expire_older_than(PRESSED_TIMEOUT_SECONDS, at_most=1)

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
