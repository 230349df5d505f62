"""The age limit of requests being read and of answers under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import islice
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class AgeLimit(Generic[T]):
    """Items under way, which expire when they are under way for too long.

    One timer serves them all: asyncio.timeout would cost each call several times as much.

    Args:
        seconds: the age at which an item expires.
        on_expired: ends items that have expired; they are no longer under way then.
    """

    __slots__ = ("_begun", "_on_expired", "_seconds", "_timer")

    def __init__(self, seconds: float, on_expired: Callable[[list[T]], object]) -> None:
        self._seconds = seconds
        self._on_expired = on_expired
        # By age, the oldest first.
        self._begun: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, item: T) -> None:
        """Add an item that is not under way yet; its age is 0."""
        self._begun[item] = monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def end(self, item: T) -> bool:
        """Remove an item; return False when it had expired, or was not under way."""
        return self._begun.pop(item, None) is not None

    def expire_older_than(self, seconds: float, *, at_most: int | None = None) -> None:
        """Expire the items of this age now, the oldest first.

        Args:
            seconds: the age.
            at_most: how many of them; None means all.
        """
        latest = monotonic() - seconds
        expired = []
        for item, begun in islice(self._begun.items(), at_most):
            if begun > latest:
                break
            expired.append(item)
        for item in expired:
            self.end(item)
        if expired:
            self._on_expired(expired)

    def _expire(self) -> None:
        self._timer = None
        self.expire_older_than(self._seconds)
        for begun in self._begun.values():
            left = max(0.0, begun + self._seconds - monotonic())
            self._timer = asyncio.get_running_loop().call_later(left, self._expire)
            return
