"""How many calls may be in flight: in the process, so that it stays quick, and per key, so that nobody has it alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from contactsvc.errors import Overloaded


class ConcurrencyLimiter:
    """Counts the calls in flight, and refuses those that are too many. Health and reflection are not counted.

    Args:
        per_process: how many at most.
        per_key: how many with one API key at most. Calls without a key have the first limit only.
        rejected: told "process" or "key" of every refusal.
    """

    def __init__(self, per_process: int, per_key: int, rejected: Callable[[str], None]) -> None:
        self._per_process = per_process
        self._per_key = per_key
        self._rejected = rejected
        self._by_key: Counter[str] = Counter()
        self.count = 0

    def enter(self, key_id: str | None) -> None:
        """Count a call until it leaves; raise Overloaded, and do not count it, when there are too many."""
        if self.count >= self._per_process:
            self._rejected("process")
            raise Overloaded("in this process")
        if key_id is not None:
            if self._by_key[key_id] >= self._per_key:
                self._rejected("key")
                raise Overloaded("with this API key")
            self._by_key[key_id] += 1
        self.count += 1

    def leave(self, key_id: str | None) -> None:
        """Count a call that has entered no longer."""
        self.count -= 1
        if key_id is not None:
            self._by_key[key_id] -= 1
            if not self._by_key[key_id]:
                del self._by_key[key_id]
