"""Functions over iterators such as that of `iterate`; the result for an asynchronous one must be awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable
from itertools import islice
from typing import TypeVar, overload

T = TypeVar("T")


@overload
def collect_all(items: Iterable[T]) -> list[T]: ...
@overload
def collect_all(items: AsyncIterable[T]) -> Awaitable[list[T]]: ...
def collect_all(items: Iterable[T] | AsyncIterable[T]) -> list[T] | Awaitable[list[T]]:
    """Return all items, without a limit on memory."""
    return collect_up_to(items, None)


@overload
def collect_up_to(items: Iterable[T], n: int | None) -> list[T]: ...
@overload
def collect_up_to(items: AsyncIterable[T], n: int | None) -> Awaitable[list[T]]: ...
def collect_up_to(items: Iterable[T] | AsyncIterable[T], n: int | None) -> list[T] | Awaitable[list[T]]:
    """Return the first `n` items, or all if `n` is None; no further item is consumed.

    Raises:
        ValueError: `n` is negative.
    """
    if n is not None and n < 0:
        raise ValueError("n must not be negative")
    return _collect(items, n) if isinstance(items, AsyncIterable) else list(islice(items, n))


@overload
def get_first(items: Iterable[T]) -> T | None: ...
@overload
def get_first(items: AsyncIterable[T]) -> Awaitable[T | None]: ...
def get_first(items: Iterable[T] | AsyncIterable[T]) -> T | Awaitable[T | None] | None:
    """Return the first item, or None if there is none."""
    return _first(items) if isinstance(items, AsyncIterable) else next(iter(items), None)


async def _collect(items: AsyncIterable[T], n: int | None) -> list[T]:
    collected: list[T] = []
    if n == 0:
        return collected
    async for item in items:
        collected.append(item)
        if len(collected) == n:
            break
    return collected


async def _first(items: AsyncIterable[T]) -> T | None:
    collected = await _collect(items, 1)
    return collected[0] if collected else None
