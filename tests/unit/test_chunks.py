"""Conversions in chunks: complete, in order, and with turns for other tasks."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from contactsvc import chunks


@pytest.mark.parametrize("count", [0, 1, 100, 101, 200, 1000])
async def test_each_item_is_converted_once_and_in_order(count: int) -> None:
    assert await chunks.map_yielding(str, range(count)) == [str(number) for number in range(count)]


async def test_other_tasks_run_while_many_items_are_converted() -> None:
    converted: list[int] = []
    seen: list[int] = []

    async def other() -> None:
        while len(converted) < 1000:
            seen.append(len(converted))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        await chunks.map_yielding(converted.append, range(1000))

    assert len(seen) >= 9
    assert max(later - earlier for earlier, later in itertools.pairwise(seen)) <= 100


async def test_a_single_chunk_does_not_yield() -> None:
    other = asyncio.create_task(asyncio.sleep(0))

    await chunks.map_yielding(str, range(100))

    assert not other.done()
    await other
