"""Batching: concurrent point reads answered by common queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from typing import TypeVar

from contactsvc.store.coalescing.coalescer import MAX_COMMANDS, MAX_ITEMS_PER_COMMAND, MAX_WAIT_SECONDS, Coalescer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batcher(Coalescer[K, V | None]):
    """Returns the value of a key, None if there is none, by a query for this key and those that are read meanwhile.

    Args:
        read: returns the values of one or more distinct keys, without those that have none. Repeated, key by key, if it
            fails for several.
        max_items: how many items a command reads.
        max_commands: how many commands run at a time.
        max_wait_seconds: how long waiting calls let a running command finish.
    """

    def __init__(
        self,
        read: Callable[[Collection[K]], Awaitable[Mapping[K, V]]],
        *,
        max_items: int = MAX_ITEMS_PER_COMMAND,
        max_commands: int = MAX_COMMANDS,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        super().__init__(
            self._read_all,
            repeatable=True,
            max_items=max_items,
            max_commands=max_commands,
            max_wait_seconds=max_wait_seconds,
        )
        self._read = read

    async def _read_all(self, keys: Sequence[K]) -> list[V | None]:
        values = await self._read(dict.fromkeys(keys).keys())
        return [values.get(key) for key in keys]
