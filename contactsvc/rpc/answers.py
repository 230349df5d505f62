"""Answers under way: their bytes are limited, and those that nobody reads are given up.

gRPC accepts an answer of any size and keeps it until the peer reads it, twice: the bytes passed to it, and a copy in
its core. HTTP/2's flow control lets a peer postpone that for as long as it likes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from contactsvc.errors import Overloaded
from contactsvc.rpc.call_ports import Context
from contactsvc.rpc.call_tasks import drop_call
from contactsvc.telemetry.limit import Limit
from contactsvc.waiting import WaitingLine

_MIB = 1024 * 1024
# Smaller answers never wait. The limits of calls in flight bound their number.
_MAX_UNDELAYED_BYTES = 16 * 1024
# How long a finished answer waits for room.
_ROOM_TIMEOUT_SECONDS = 5.0
# An answer that is under way for longer makes room when the limit of the process is reached: a few slow readers must
# not hold up everybody until their timeout.
PRESSED_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLimits:
    """Limits of the bytes of answers under way. A single answer may exceed a limit when there is no other.

    Attributes:
        per_process: of a server process.
        per_key: of one API key.
        per_connection: of one connection.
        timeout: seconds after which an answer that is not read is given up.
    """

    per_process: int = 48 * _MIB
    per_key: int = 16 * _MIB
    per_connection: int = 8 * _MIB
    timeout: float


class AnswerBudget:
    """Limits the bytes of answers under way.

    Args:
        limits: the limits.
        on_rejected: receives the limit of every rejected call.

    Attributes:
        held: bytes under way.
        dropped: number of answers that were given up.
    """

    def __init__(self, limits: AnswerLimits, on_rejected: Callable[[Limit], None]) -> None:
        self._limits = limits
        self._on_rejected = on_rejected
        self._by_owner: dict[str, int] = {}
        self._room = WaitingLine()
        # In the order in which they were begun, so that the first one is the first to be given up.
        self._under_way: dict[Answer, float] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self.held = 0
        self.dropped = 0

    def answer(self, peer: str, key_id: str | None, task: asyncio.Task[Any]) -> Answer:
        """Return the account of the answers of a new call, empty so far; `task` runs its handler.

        Raises:
            Overloaded: the answers under way leave no room for another.
        """
        connection = (peer, self._limits.per_connection, "on this connection")
        owners = (connection,) if key_id is None else (connection, (key_id, self._limits.per_key, "with this API key"))
        for owner, limit, whose in owners:
            if self._by_owner.get(owner, 0) >= limit:
                self._reject(whose)
        if self.held >= self._limits.per_process:
            self.make_room()
            self._reject("in this process")
        return Answer(self, owners, task)

    def add(self, answer: Answer, size: int) -> None:
        """Count bytes, or stop counting them when the number is negative."""
        self.held += size
        for owner, _, _ in answer.owners:
            now = self._by_owner.get(owner, 0) + size
            if now:
                self._by_owner[owner] = now
            else:
                self._by_owner.pop(owner, None)
        if size < 0 and self._room:
            self._room.serve()

    async def wait_for_room(self, answer: Answer, size: int) -> None:
        """Count bytes as soon as there is room for them.

        Raises:
            Overloaded: the time is over.
        """

        def take() -> bool:
            if fits := self.fits(answer, size):
                answer.grow(size)
            return fits

        def on_round() -> None:
            if self.held + size > self._limits.per_process:
                self.make_room()

        if not await self._room.wait(
            take,
            lambda: answer.grow(-size),
            timeout=_ROOM_TIMEOUT_SECONDS,
            round_seconds=1.0,
            on_round=on_round,
        ):
            self._reject("of answers that are not read yet")

    def fits(self, answer: Answer, size: int) -> bool:
        """Return whether there is room for so many bytes."""
        return (not self.held or self.held + size <= self._limits.per_process) and all(
            not (held := self._by_owner.get(owner, 0)) or held + size <= limit for owner, limit, _ in answer.owners
        )

    def begin(self, answer: Answer) -> None:
        """Note that an answer is under way from now on."""
        self._under_way[answer] = monotonic()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._limits.timeout, self._drop_expired)

    def end(self, answer: Answer) -> None:
        """Note that an answer is out, or dropped."""
        self._under_way.pop(answer, None)

    def _reject(self, whose: str) -> None:
        self._on_rejected(Limit.BYTES)
        raise Overloaded.by_bytes(whose)

    def make_room(self) -> None:
        """Give up the answers that nobody has read for a while."""
        self._drop_older_than(min(PRESSED_TIMEOUT_SECONDS, self._limits.timeout))

    def _drop_expired(self) -> None:
        self._sweep = None
        self._drop_older_than(self._limits.timeout)
        for begun in self._under_way.values():
            left = max(0.0, begun + self._limits.timeout - monotonic())
            self._sweep = asyncio.get_running_loop().call_later(left, self._drop_expired)
            return

    def _drop_older_than(self, seconds: float) -> None:
        latest = monotonic() - seconds
        for answer, begun in list(self._under_way.items()):
            if begun > latest:
                return
            self.end(answer)
            self.dropped += 1
            _log.warning("gave up an answer of %d bytes that %s did not read", answer.size, answer.owners[0][0])
            drop_call(answer.task)


class Answer:
    """The bytes of the answers of one call: of its only one, or of the present page of a stream.

    Attributes:
        task: the task of the handler.
        owners: the connection and the API key that it counts for: name, limit, description.
        size: its bytes.
    """

    __slots__ = ("_budget", "owners", "size", "task")

    def __init__(self, budget: AnswerBudget, owners: tuple[tuple[str, int, str], ...], task: asyncio.Task[Any]) -> None:
        self._budget = budget
        self.task = task
        self.owners = owners
        self.size = 0

    def grow(self, size: int) -> None:
        """Count more bytes, or fewer when the number is negative, without waiting."""
        self.size += size
        self._budget.add(self, size)

    async def reserve(self, size: int) -> None:
        """Count the bytes of an answer; wait for room, but not beyond the deadline.

        Raises:
            Overloaded: there is no room in time.
        """
        if size <= _MAX_UNDELAYED_BYTES or self._budget.fits(self, size):
            self.grow(size)
            return
        await self._budget.wait_for_room(self, size)

    def begin(self) -> None:
        """Note that it is passed to gRPC now."""
        self._budget.begin(self)

    def end(self, _: object = None) -> None:
        """Note that it is out, or dropped: its bytes are free. Also a done callback of tasks."""
        self._budget.end(self)
        if self.size:
            self.grow(-self.size)

    async def send(self, context: Context, raw: bytes) -> None:
        """Send it as a page of a stream, at the pace of its reader; unread, the call is cancelled in the end."""
        await self.reserve(len(raw))
        self.begin()
        try:
            await context.write(raw)
        finally:
            self.end()
