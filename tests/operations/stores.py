"""Stores that wait or fail."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.operations.planted import PLANTED


class HeldStore:
    """A store whose reads by id wait for `go`."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.waiting = 0
        self.arrived = asyncio.Condition()
        self.go = asyncio.Event()

    async def find(self, id_: str) -> Any:
        async with self.arrived:
            self.waiting += 1
            self.arrived.notify_all()
        await self.go.wait()
        return await self._store.find(id_)

    async def wait_for(self, count: int) -> None:
        """Wait until this many reads wait."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.waiting >= count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class BrokenStore:
    """A store that fails with the marker in the text of its error."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def find(self, id_: str) -> Any:
        raise RuntimeError(f"cannot find {id_} of {PLANTED}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
