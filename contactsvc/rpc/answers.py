"""Limits of the answers under way: of their bytes, and of the time that a peer may take to read one.

gRPC accepts an answer of any size and keeps it until the peer has read it, twice: the bytes passed to it, and a copy in
its core. HTTP/2's flow control lets a peer postpone that for as long as it likes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contactsvc.errors import Overloaded
from contactsvc.rpc.age_limit import AgeLimit
from contactsvc.rpc.call_ports import Context
from contactsvc.rpc.call_tasks import drop_calls
from contactsvc.telemetry.limit import Limit
from contactsvc.waiting import WaitingLine

_MIB = 1024 * 1024
# Smaller answers never wait: the limits of calls in flight bound their number.
_MAX_UNDELAYED_BYTES = 16 * 1024
# How long a finished answer waits for room.
_ROOM_TIMEOUT_SECONDS = 5.0
# Answers of this age are dropped when the process has reached its limit: a few slow readers must not hold up everybody
# until their timeout.
PRESSED_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLimits:
    """Limits of the answers under way. A single answer may exceed a limit of bytes when there is no other.

    Attributes:
        per_process: bytes of a server process.
        per_key: bytes of one API key.
        per_connection: bytes of one connection.
        timeout: seconds after which an unread answer is dropped.
    """

    per_process: int = 48 * _MIB
    per_key: int = 16 * _MIB
    per_connection: int = 8 * _MIB
    timeout: float


class AnswerBudget:
    """Counts the bytes of the answers under way and holds them to their limits.

    Args:
        limits: the limits.
        on_rejected: receives the limit that rejected a call.

    Attributes:
        held: bytes under way.
        dropped: number of answers that were dropped unread.
        under_way: answers that gRPC has and their peers have not read yet.
    """

    def __init__(self, limits: AnswerLimits, on_rejected: Callable[[Limit], None]) -> None:
        self._limits = limits
        self._on_rejected = on_rejected
        self._by_owner: dict[str, int] = {}
        self._room = WaitingLine()
        self.under_way: AgeLimit[Answer] = AgeLimit(limits.timeout, self._drop)
        self.held = 0
        self.dropped = 0

    def answer(self, peer: str, key_id: str | None, task: asyncio.Task[Any]) -> Answer:
        """Return the account of the answers of a new call, empty so far.

        Args:
            peer: the connection of the call.
            key_id: the API key of its caller, if it has one.
            task: the task that runs its handler.

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
        """Count bytes of an answer, or stop counting them when `size` is negative."""
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
        """Count bytes of an answer as soon as there is room for them.

        Raises:
            Overloaded: there was no room in time.
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
        """Return whether there is room for `size` more bytes of an answer."""
        return (not self.held or self.held + size <= self._limits.per_process) and all(
            not (held := self._by_owner.get(owner, 0)) or held + size <= limit for owner, limit, _ in answer.owners
        )

    def make_room(self) -> None:
        """Drop the answers that have been unread for a while."""
        self.under_way.expire_older_than(min(PRESSED_TIMEOUT_SECONDS, self._limits.timeout))

    def _reject(self, whose: str) -> None:
        self._on_rejected(Limit.BYTES)
        raise Overloaded.by_bytes(whose)

    def _drop(self, answers: list[Answer]) -> None:
        self.dropped += len(answers)
        for answer in answers:
            _log.warning("dropped an answer of %d bytes that %s did not read", answer.size, answer.owners[0][0])
        drop_calls([answer.task for answer in answers])


class Answer:
    """The bytes of the answers of one call: of its only one, or of the present page of a stream.

    Attributes:
        task: the task of the handler.
        owners: the connection and the API key whose limits it counts against: name, limit, description.
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
        """Count more bytes; a large answer waits for room, up to the deadline of the call.

        Raises:
            Overloaded: there was no room in time.
        """
        if size <= _MAX_UNDELAYED_BYTES or self._budget.fits(self, size):
            self.grow(size)
            return
        await self._budget.wait_for_room(self, size)

    def begin(self) -> None:
        """Begin its age: it is passed to gRPC now."""
        self._budget.under_way.begin(self)

    def end(self, _: object = None) -> None:
        """Free its bytes: it is out, or dropped. Also a done callback of tasks."""
        self._budget.under_way.end(self)
        if self.size:
            self.grow(-self.size)

    async def send(self, context: Context, raw: bytes) -> None:
        """Send it as a page of a stream, at the pace of its reader. An unread page ends the call at the timeout."""
        await self.reserve(len(raw))
        self.begin()
        try:
            await context.write(raw)
        finally:
            self.end()
