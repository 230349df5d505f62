"""Group commit: writes of single documents that arrive together, made by one command, each with its own outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Generic, TypeVar

from contactsvc.store.coalescing.batcher import Batcher
from contactsvc.store.writes import DocumentWrite

S = TypeVar("S", bound=DocumentWrite)


class GroupCommit(Generic[S]):
    """Takes steps together with those that arrive meanwhile.

    Args:
        take_all: takes several steps in one command; returns the errors of those that failed, by their positions, and
            raises what all of them end with. Must be right for one as well.
    """

    def __init__(self, take_all: Callable[[Sequence[S]], Awaitable[Mapping[int, Exception]]]) -> None:
        self._take_all = take_all
        self._steps: dict[int, S] = {}
        self._numbers = count()
        # A write is not repeated because another one has failed.
        self._outcomes = Batcher[int, Exception](self._take_numbered, repeatable=False)

    async def __call__(self, step: S) -> None:
        """Take a step; return when it is durable, raise what came of it otherwise."""
        number = next(self._numbers)
        self._steps[number] = step
        try:
            outcome = await self._outcomes(number)
        finally:
            # Still there when its deadline had passed before it was sent.
            self._steps.pop(number, None)
        if outcome is not None:
            raise outcome

    async def _take_numbered(self, numbers: Collection[int]) -> Mapping[int, Exception]:
        numbers = list(numbers)
        errors = await self._take_all([self._steps.pop(number) for number in numbers])
        return {numbers[position]: error for position, error in errors.items()}
