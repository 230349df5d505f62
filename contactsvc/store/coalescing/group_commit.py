"""Group commit: concurrent writes of single documents executed by one command, each with its own outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from contactsvc.store.coalescing.coalescer import MAX_WAIT_SECONDS, Coalescer
from contactsvc.store.writes import DocumentWrite

W = TypeVar("W", bound=DocumentWrite)


class GroupCommit(Coalescer[W, None]):
    """Executes a write together with those that arrive meanwhile. Returns once it is durable, raises its error if not.

    Args:
        write_all: executes one or more writes by one command; returns the error of each, None for a success. Never
            repeated: if it fails as a whole, every write of the command may or may not have taken effect.
        max_wait_seconds: see Coalescer.
    """

    def __init__(
        self,
        write_all: Callable[[Sequence[W]], Awaitable[Sequence[Exception | None]]],
        *,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        super().__init__(write_all, repeatable=False, max_wait_seconds=max_wait_seconds)
