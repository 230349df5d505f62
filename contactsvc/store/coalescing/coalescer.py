"""The mechanics of coalescing: calls that arrive while a command runs wait, and leave together as the next command.

A lone call waits for nothing. No call is served by a command that was sent before the call arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final, Generic, TypeVar

from contactsvc import deadlines, trace_context
from contactsvc.errors import DeadlineExceeded, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

MAX_WAIT_SECONDS: Final = 0.05
"""How long waiting calls let a running command finish before another one is sent beside it. A slow command, which waits
for a transaction or finds many documents, must not hold up the others for longer."""

MAX_ITEMS_PER_COMMAND: Final = 32
"""Larger commands would save little, and make each call wait for the slowest one."""

MAX_COMMANDS: Final = 8
"""Commands that run at a time."""

# Before a command is sent, the event loop runs until this many consecutive turns were quiet, that is shorter than
# _QUIET_TURN_SECONDS and without a new call. A busy loop is about to deliver further calls: sent now, the command would
# be small, and there would be more of them. An idle loop is quiet at once.
_QUIET_TURNS = 4
_QUIET_TURN_SECONDS = 50e-6
_MAX_GATHERING_SECONDS = 0.01


class Coalescer(Generic[T, R]):
    """Executes single calls by common commands, by position: a list of items in, a list of their outcomes out.

    Args:
        execute: executes one or more items by one command. Returns their outcomes in the same order; one that is an
            exception is raised for its call only. An exception that it raises itself concerns the whole command.
        repeatable: whether the items of a command that failed as a whole are executed again, one by one, so that one
            faulty item does not fail the others.
        max_items: how many items a command executes.
        max_commands: how many commands run at a time.
        max_wait_seconds: how long waiting calls let a running command finish before another one is sent beside it.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        repeatable: bool,
        max_items: int = MAX_ITEMS_PER_COMMAND,
        max_commands: int = MAX_COMMANDS,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        self._execute = execute
        self._repeatable = repeatable
        self._max_items = max_items
        self._max_commands = max_commands
        self._max_wait_seconds = max_wait_seconds
        self._waiting: list[_Call[T, R]] = []
        self._running = 0
        self._one_ended: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()

    async def __call__(self, item: T) -> R:
        """Return the outcome of an item, or raise it if it is an exception.

        Raises:
            DeadlineExceeded: the deadline of the call passed before a command was sent for it.
        """
        deadlines.remaining_ms()
        call: _Call[T, R] = _Call(item, deadlines.when())
        if not self._running and self._sender is None:
            self._start([call])
        else:
            self._waiting.append(call)
            if self._sender is None:
                self._sender = asyncio.create_task(self._send_waiting())
        return await call.outcome

    def _start(self, calls: list[_Call[T, R]]) -> None:
        # A task of its own: a caller may leave while others wait for the same command, and a command that is cancelled
        # takes its connection with it.
        self._running += 1
        command = asyncio.create_task(self._run_command(calls))
        self._commands.add(command)
        command.add_done_callback(self._commands.discard)

    def _command_ended(self) -> None:
        self._running -= 1
        if self._one_ended is not None and not self._one_ended.done():
            self._one_ended.set_result(None)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_running()
                await self._gather()
                if calls := self._next_calls():
                    self._start(calls)
        finally:
            self._sender = None
            # Calls remain only if the loop is closing.
            for call in self._waiting:
                call.outcome.cancel()

    async def _wait_for_running(self) -> None:
        """Wait until a running command ends, but no longer than the maximum."""
        if not self._running:
            return
        self._one_ended = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._one_ended}, timeout=self._max_wait_seconds)
        if self._running >= self._max_commands:
            await self._one_ended

    async def _gather(self) -> None:
        """Wait for further calls until the event loop is quiet."""
        began = before = perf_counter()
        quiet = 0
        while quiet < _QUIET_TURNS and len(self._waiting) < self._max_items and before - began < _MAX_GATHERING_SECONDS:
            waiting = len(self._waiting)
            await asyncio.sleep(0)
            now = perf_counter()
            quiet = quiet + 1 if len(self._waiting) == waiting and now - before < _QUIET_TURN_SECONDS else 0
            before = now

    def _next_calls(self) -> list[_Call[T, R]]:
        """Take the calls of the next command: the oldest, without those that have left or whose deadline has passed."""
        calls, self._waiting = self._waiting[: self._max_items], self._waiting[self._max_items :]
        now = asyncio.get_running_loop().time()
        for call in calls:
            if call.deadline is not None and call.deadline <= now:
                call.end(DeadlineExceeded())
        return [call for call in calls if not call.outcome.done()]

    async def _run_command(self, calls: list[_Call[T, R]]) -> None:
        try:
            await self._execute_calls(calls)
        finally:
            # Calls remain only if the loop is closing, or the command was cancelled.
            for call in calls:
                call.outcome.cancel()
            self._command_ended()

    async def _execute_calls(self, calls: list[_Call[T, R]]) -> None:
        # The command has the latest deadline of its calls. Each call leaves at its own.
        ends = [call.deadline for call in calls]
        deadlines.begin_until(None if None in ends else max(end for end in ends if end is not None))
        trace_context.begin_for(call.spans for call in calls)
        try:
            outcomes = await self._execute([call.item for call in calls])
        except (StoreUnavailable, DeadlineExceeded) as error:
            for call in calls:
                call.end(error)
        except Exception as error:
            if len(calls) == 1 or not self._repeatable:
                for call in calls:
                    call.end(error)
                return
            # One item may have caused it, which must not affect the others.
            for call in calls:
                await self._execute_calls([call])
        else:
            for call, outcome in zip(calls, outcomes, strict=True):
                call.end(outcome)


class _Call(Generic[T, R]):
    __slots__ = ("deadline", "item", "outcome", "spans")

    def __init__(self, item: T, deadline: float | None) -> None:
        self.item = item
        self.deadline = deadline
        self.spans = trace_context.spans()
        self.outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    def end(self, outcome: R | Exception) -> None:
        """Give the caller its outcome, unless it has left."""
        if self.outcome.done():
            return
        if isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)
