"""Batching: what many callers ask one by one, asked of the database together.

While a command is under way, the questions that arrive wait, and leave together as the next one. A lone question waits
for nothing. No answer comes from a command that was sent before its question arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from time import perf_counter
from typing import Generic, TypeVar

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# How many questions go into one command. More would save little, and make each wait for the slowest.
_MOST = 32
# How long the questions that wait let a command go first. One that is slow, because it waits for somebody's transaction
# or finds much, is not to hold up the others for longer.
_PATIENCE = 0.05
# How many commands may be under way beside each other then.
_MOST_UNDER_WAY = 8
# Before a command is sent, the event loop is let turn until it has had so many turns in a row with nothing to do, which
# are those shorter than this. What it has to do is to bring further calls here: sent now, the command would be small,
# and there would be more of them. When the loop has time to spare, that is over at once.
_QUIET_TURNS = 4
_QUIET_TURN = 50e-6
_LONGEST_GATHERING = 0.01


class Batcher(Generic[K, V]):
    """Answers single questions with common commands.

    Args:
        ask: answers several questions at once; what it leaves out has no answer. Must be right for one as well.
        repeatable: whether questions may be asked once more, one by one, when one of them has made the command fail.
        patience: how many seconds questions wait for a command that is under way before they are sent beside it.
    """

    def __init__(
        self,
        ask: Callable[[Collection[K]], Awaitable[Mapping[K, V]]],
        *,
        repeatable: bool = True,
        patience: float = _PATIENCE,
    ) -> None:
        self._ask = ask
        self._repeatable = repeatable
        self._patience = patience
        self._waiting: list[_Question[K, V]] = []
        self._under_way = 0
        self._one_ended: asyncio.Future[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()

    async def __call__(self, key: K) -> V | None:
        """Return the answer to a question; raise what its command ends with."""
        deadlines.remaining_ms()
        if not self._under_way and self._sending is None:
            return await self._alone(key)
        question: _Question[K, V] = _Question(key, deadlines.when())
        self._waiting.append(question)
        if self._sending is None:
            # Not in the caller's task: it may leave, and others wait for the same command.
            self._sending = asyncio.create_task(self._send_all())
        return await question.answer

    async def _alone(self, key: K) -> V | None:
        self._under_way += 1
        try:
            return (await self._ask([key])).get(key)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._under_way -= 1
        if self._one_ended is not None and not self._one_ended.done():
            self._one_ended.set_result(None)

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._turn_comes()
                await self._gather()
                batch = self._next_batch()
                if batch:
                    self._under_way += 1
                    command = asyncio.create_task(self._command(batch))
                    self._commands.add(command)
                    command.add_done_callback(self._commands.discard)
        finally:
            self._sending = None
            # Only when the loop ends with calls under way is anybody left.
            for question in self._waiting:
                question.answer.cancel()

    async def _turn_comes(self) -> None:
        """Wait until a command has ended, or for as long as patience lasts."""
        if not self._under_way:
            return
        self._one_ended = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._one_ended}, timeout=self._patience)
        if self._under_way >= _MOST_UNDER_WAY:
            await self._one_ended

    async def _gather(self) -> None:
        """Let those questions come along that are already on their way."""
        began = before = perf_counter()
        quiet = 0
        while quiet < _QUIET_TURNS and len(self._waiting) < _MOST and before - began < _LONGEST_GATHERING:
            waiting = len(self._waiting)
            await asyncio.sleep(0)
            now = perf_counter()
            quiet = quiet + 1 if len(self._waiting) == waiting and now - before < _QUIET_TURN else 0
            before = now

    def _next_batch(self) -> list[_Question[K, V]]:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        now = asyncio.get_running_loop().time()
        for question in batch:
            if question.deadline is not None and question.deadline <= now:
                question.fail(DeadlineExceeded())
        return [question for question in batch if not question.answer.done()]

    async def _command(self, batch: list[_Question[K, V]]) -> None:
        try:
            await self._answer(batch)
        finally:
            # Only when the loop ends, or something below is cancelled, is anybody left.
            for question in batch:
                question.answer.cancel()
            self._ended()

    async def _answer(self, batch: list[_Question[K, V]]) -> None:
        # It may take as long as the most patient of its callers waits; the others leave at their own deadlines.
        ends = [question.deadline for question in batch]
        deadlines.begin_until(None if None in ends else max(end for end in ends if end is not None))
        try:
            answers = await self._ask({question.key: None for question in batch}.keys())
        except (StoreUnavailable, DeadlineExceeded) as error:
            for question in batch:
                question.fail(error)
        except Exception as error:
            if len(batch) == 1 or not self._repeatable:
                for question in batch:
                    question.fail(error)
                return
            # One of them may be to blame, and the others shall not suffer for it.
            for question in batch:
                await self._answer([question])
        else:
            for question in batch:
                question.give(answers.get(question.key))


class _Question(Generic[K, V]):
    __slots__ = ("answer", "deadline", "key")

    def __init__(self, key: K, deadline: float | None) -> None:
        self.key = key
        self.deadline = deadline
        self.answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()

    def give(self, answer: V | None) -> None:
        # Done already when its caller has left.
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
