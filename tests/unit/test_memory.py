"""The memory budget, where the order of events in the loop matters."""

from __future__ import annotations

import asyncio

from contactsvc.memory import CallMemory, MemoryBudget

MIB = 1024 * 1024


async def test_a_task_that_waits_for_room_when_its_call_ends_holds_nothing_afterwards() -> None:
    budget = MemoryBudget(lambda: None)
    large, left = CallMemory(budget, "one"), CallMemory(budget, "two")
    await large.hold(100 * MIB)
    waiting = asyncio.create_task(left.hold(20 * MIB))
    await asyncio.sleep(0)
    assert not waiting.done()

    left.close()
    large.close()
    await waiting

    assert budget.held == 0


async def test_a_task_that_is_cancelled_as_it_gets_its_room_gives_it_back() -> None:
    budget = MemoryBudget(lambda: None)
    large, other = CallMemory(budget, "one"), CallMemory(budget, "two")
    await large.hold(100 * MIB)
    waiting = asyncio.create_task(other.hold(20 * MIB))
    await asyncio.sleep(0)

    large.close()
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert budget.held == 0
