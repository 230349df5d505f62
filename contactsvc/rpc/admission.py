"""Limits of calls in flight, and of long reads: per process, and per API key, so that no caller uses it up alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, TypeVar

from contactsvc.errors import Overloaded
from contactsvc.memory import CallMemory
from contactsvc.telemetry.limit import Limit

T = TypeVar("T")

MAX_SCANS: Final = 8
"""Long reads that are waiting or running in a process."""

MAX_SCANS_PER_KEY: Final = 4
"""Long reads of one API key among them."""


class ConcurrencyLimiter:
    """Counts calls in flight and rejects those above a limit. Health and reflection are exempt.

    Args:
        per_process: limit of the process.
        per_key: limit of one API key. Calls without a key are subject to the first limit only.
        on_rejected: receives the limit for every rejected call.

    Attributes:
        count: calls in flight.
    """

    def __init__(self, per_process: int, per_key: int, on_rejected: Callable[[Limit], None]) -> None:
        self._per_process = per_process
        self._per_key = per_key
        self._on_rejected = on_rejected
        self._by_key: Counter[str] = Counter()
        self.count = 0

    def enter(self, key_id: str | None) -> Admission:
        """Count a call until its admission is released.

        Raises:
            Overloaded: a limit is reached; the call is not counted.
        """
        if self.count >= self._per_process:
            self._on_rejected(Limit.PROCESS)
            raise Overloaded("in this process")
        if key_id is not None:
            if self._by_key[key_id] >= self._per_key:
                self._on_rejected(Limit.KEY)
                raise Overloaded("with this API key")
            self._by_key[key_id] += 1
        self.count += 1
        return Admission(self, key_id)

    def leave(self, key_id: str | None) -> None:
        """Stop counting a call that has entered."""
        self.count -= 1
        if key_id is not None:
            self._by_key[key_id] -= 1
            if not self._by_key[key_id]:
                del self._by_key[key_id]


class Admission:
    """The place of a call among those in flight, free once everything that holds it has released it.

    It is made with one holder.

    Attributes:
        memory: the memory of the call, freed at the same time.
    """

    __slots__ = ("_holders", "_key_id", "_limiter", "memory")

    def __init__(self, limiter: ConcurrencyLimiter, key_id: str | None) -> None:
        self.memory: CallMemory | None = None
        self._limiter = limiter
        self._key_id = key_id
        self._holders = 1

    def retain(self) -> None:
        """Add a holder."""
        self._holders += 1

    def release(self, _: object = None) -> None:
        """Remove a holder; also a done callback of tasks."""
        self._holders -= 1
        if not self._holders:
            self._limiter.leave(self._key_id)
            if self.memory is not None:
                self.memory.close()


class ScanLimiter:
    """Counts long reads and rejects those above a limit: the lists, streams and counts that may read many records.

    The database works on a few slices of them at a time (store/scan_slots.py); this bounds how many wait for that.

    Args:
        on_rejected: receives the limit for every rejected call.
    """

    def __init__(self, on_rejected: Callable[[Limit], None]) -> None:
        self._on_rejected = on_rejected
        self._by_key: Counter[str] = Counter()
        self._count = 0

    @contextmanager
    def counted(self, key_id: str | None) -> Iterator[None]:
        """Count a long read inside the block.

        Args:
            key_id: the API key of the caller; None for none.

        Raises:
            Overloaded: a limit is reached.
        """
        if self._count >= MAX_SCANS:
            self._on_rejected(Limit.SCANS)
            raise Overloaded.by_scans("in this process")
        if key_id is not None and self._by_key[key_id] >= MAX_SCANS_PER_KEY:
            self._on_rejected(Limit.SCANS)
            raise Overloaded.by_scans("with this API key")
        with self._counting(key_id):
            yield

    async def counted_pages(self, pages: AsyncGenerator[T], key_id: str | None) -> AsyncGenerator[T]:
        """Yield the pages of a long stream, which counts while the next page is being read, and not while it is sent.

        Raises:
            Overloaded: a limit is reached at the first page. Later the stream waits for its turn.
        """
        async with aclosing(pages):
            with self.counted(key_id):
                page = await anext(pages, None)
            while page is not None:
                yield page
                with self._counting(key_id):
                    page = await anext(pages, None)

    @contextmanager
    def _counting(self, key_id: str | None) -> Iterator[None]:
        self._count += 1
        if key_id is not None:
            self._by_key[key_id] += 1
        try:
            yield
        finally:
            self._count -= 1
            if key_id is not None:
                self._by_key[key_id] -= 1
                if not self._by_key[key_id]:
                    del self._by_key[key_id]
