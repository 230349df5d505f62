"""Batching: what many callers ask one by one, asked of the database together.

While a command is under way, the questions that arrive wait, and leave together as the next one. A lone question waits
for nothing. No answer comes from a command that was sent before its question arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# How many questions go into one command. More would save little, and make each wait for the slowest.
_MOST = 32


class Batcher(Generic[K, V]):
    """Answers single questions with common commands.

    Args:
        ask: answers several questions at once; what it leaves out has no answer. Must be right for one as well.
        repeatable: whether questions may be asked once more, one by one, when one of them has made the command fail.
    """

    def __init__(self, ask: Callable[[Collection[K]], Awaitable[Mapping[K, V]]], *, repeatable: bool = True) -> None:
        self._ask = ask
        self._repeatable = repeatable
        self._waiting: list[_Question[K, V]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, key: K) -> V | None:
        """Return the answer to a question; raise what its command ends with."""
        deadlines.remaining_ms()
        question: _Question[K, V] = _Question(key, deadlines.when())
        self._waiting.append(question)
        if self._asking is None:
            # Not in the caller's task: it may leave, and others wait for the same command.
            self._asking = asyncio.create_task(self._answer_all())
        return await question.answer

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                batch = [question for question in batch if not question.answer.done()]
                if batch:
                    await self._answer(batch)
        finally:
            self._asking = None
            # Only when the loop ends with calls under way is anybody left.
            for question in self._waiting:
                question.answer.cancel()

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
        except BaseException:
            for question in batch:
                question.answer.cancel()
            raise
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
