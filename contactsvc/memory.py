"""Memory of the current call, for whatever allocates on its behalf, and the budget that all calls share.

Counted is what may be large: requests, documents and records. A context variable carries the account of the call,
because the layers between rpc and the database would only pass it on. Outside of a call nothing is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from contactsvc.errors import FieldViolation, InvalidFields, Overloaded
from contactsvc.waiting import WaitingLine

_MIB = 1024 * 1024
# Of all calls together, and the part of it that one API key, or connection, may take.
_MAX_BYTES = 64 * _MIB
_MAX_BYTES_PER_OWNER = 48 * _MIB
# A call that finds no room may exceed these limits when no other does, up to here. A batch of 250 records at all limits
# needs 140 MiB.
_MAX_BYTES_PER_CALL = 160 * _MIB
# How long a call waits for room.
_ROOM_TIMEOUT_SECONDS = 15.0

_current: ContextVar[CallMemory | None] = ContextVar("call_memory", default=None)


class MemoryBudget:
    """The memory of all calls of a process.

    Args:
        on_rejected: called for every rejected call.
        on_pressure: called every second while a call waits for room.

    Attributes:
        held: the bytes of all calls.
        peak: the most bytes so far.
    """

    def __init__(self, on_rejected: Callable[[], None], on_pressure: Callable[[], None] = lambda: None) -> None:
        self._on_rejected = on_rejected
        self._on_pressure = on_pressure
        self._by_owner: Counter[str] = Counter()
        self._room = WaitingLine()
        # The call that may exceed the limits.
        self._large: CallMemory | None = None
        self.held = 0
        self.peak = 0

    def take(self, call: CallMemory, size: int) -> bool:
        """Count bytes of a call if there is room for them."""
        fits = (
            self.held + size <= _MAX_BYTES and self._by_owner[call.owner] + size <= _MAX_BYTES_PER_OWNER
        ) or self._large is call
        if not fits and self._large is None:
            self._large = call
            fits = True
        if fits:
            self.add(call, size)
        return fits

    def add(self, call: CallMemory, size: int) -> None:
        """Count bytes, or stop counting them when the number is negative."""
        call.held += size
        self.held += size
        self.peak = max(self.peak, self.held)
        self._by_owner[call.owner] += size
        if size < 0:
            if not self._by_owner[call.owner]:
                del self._by_owner[call.owner]
            if not call.held and self._large is call:
                self._large = None
            if self._room:
                self._room.serve()

    async def wait_for_room(self, call: CallMemory, size: int) -> None:
        """Count bytes as soon as there is room for them; raise Overloaded when there is none in time."""
        if await self._room.wait(
            # A task that a call has left behind may wait beyond the end of the call, which frees nothing more.
            lambda: call.closed or self.take(call, size),
            lambda: call.free(size),
            timeout=_ROOM_TIMEOUT_SECONDS,
            round_seconds=1.0,
            on_round=self._on_pressure,
            # Owners that hold little come first.
            rank=lambda: self._by_owner[call.owner],
        ):
            return
        self._on_rejected()
        raise Overloaded.by_bytes("in this process")

    @property
    def crowded(self) -> bool:
        """Whether calls wait for room."""
        return bool(self._room)


class CallMemory:
    """The memory of one call.

    Args:
        budget: of the process.
        owner: the API key or connection of the caller.

    Attributes:
        held: its bytes.
        closed: whether the call has ended: nothing is counted for it any more.
    """

    __slots__ = ("_budget", "closed", "held", "owner")

    def __init__(self, budget: MemoryBudget, owner: str) -> None:
        self._budget = budget
        self.closed = False
        self.owner = owner
        self.held = 0

    def begin(self) -> None:
        """Become the memory of the current task and of tasks that it creates."""
        _current.set(self)

    async def hold(self, size: int) -> None:
        """Count bytes that are about to be allocated; wait for room.

        Raises:
            Overloaded: there is no room in time.
            InvalidFields: the call needs more than any call may have.
        """
        # Work that several calls share runs on behalf of one, and may outlive it.
        if self.closed:
            return
        if self.held + size > _MAX_BYTES_PER_CALL:
            rule = "has too many large contact methods for one call"
            raise InvalidFields([FieldViolation("client_id", rule)])
        # A newcomer does not overtake those who wait.
        if (not self.held and self._budget.crowded) or not self._budget.take(self, size):
            await self._budget.wait_for_room(self, size)

    def free(self, size: int) -> None:
        """Stop counting bytes."""
        # A call that has ended has freed everything.
        size = min(size, self.held)
        if size > 0:
            self._budget.add(self, -size)

    def release(self) -> None:
        """Stop counting all bytes."""
        self.free(self.held)

    def close(self) -> None:
        """Stop counting all bytes, for good."""
        self.release()
        self.closed = True


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing inside the block: what several calls share belongs to none of them."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


async def hold(size: int) -> None:
    """Count bytes of the current call that are about to be allocated; raises as CallMemory.hold."""
    if (call := _current.get()) is not None:
        await call.hold(size)


def free(size: int) -> None:
    """Stop counting bytes of the current call."""
    if (call := _current.get()) is not None:
        call.free(size)


def held() -> int:
    """Return the bytes of the current call."""
    call = _current.get()
    return 0 if call is None else call.held
