"""Slots for long reads."""

from __future__ import annotations

import asyncio

from contactsvc.store.scan_slots import ScanSlots


class HeldReads:
    """Reads that end when they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go = asyncio.Event()

    async def read(self, number: int) -> int:
        self.begun.append(number)
        await self.go.wait()
        return number


async def turns() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_slices_are_read_one_at_a_time_in_the_order_of_their_arrival() -> None:
    slots, held = ScanSlots(1), HeldReads()
    reads = [asyncio.create_task(slots.run(lambda number=number: held.read(number))) for number in range(3)]  # type: ignore[misc]
    await turns()
    begun = list(held.begun)
    held.go.set()

    assert await asyncio.gather(*reads) == [0, 1, 2]
    assert begun == [0]
    assert held.begun == [0, 1, 2]


async def test_a_slice_that_nobody_waits_for_keeps_its_slot_until_it_ends_and_others_do_not_begin() -> None:
    slots, held = ScanSlots(1), HeldReads()
    first, second, third = (
        asyncio.create_task(slots.run(lambda number=number: held.read(number)))  # type: ignore[misc]
        for number in range(3)
    )
    await turns()
    first.cancel()
    second.cancel()
    await turns()
    begun = list(held.begun)
    held.go.set()

    assert await third == 2
    assert begun == [0]
    assert held.begun == [0, 2]


async def test_a_slot_is_free_again_after_a_failure_that_nobody_sees() -> None:
    slots, held = ScanSlots(1), HeldReads()

    async def fail() -> None:
        await held.go.wait()
        raise RuntimeError

    left = asyncio.create_task(slots.run(fail))
    await turns()
    left.cancel()
    held.go.set()

    assert await slots.run(lambda: held.read(1)) == 1


async def test_a_close_waits_for_slices_that_nobody_waits_for() -> None:
    slots, held = ScanSlots(1), HeldReads()
    left = asyncio.create_task(slots.run(lambda: held.read(1)))
    await turns()
    left.cancel()
    closing = asyncio.create_task(slots.close(timeout=30))
    await turns()
    waiting = not closing.done()
    held.go.set()
    await closing

    assert waiting


async def test_a_close_gives_up_a_slice_that_does_not_end() -> None:
    slots, held = ScanSlots(1), HeldReads()
    reading = asyncio.create_task(slots.run(lambda: held.read(1)))
    await turns()

    await slots.close(timeout=0)
    await asyncio.wait({reading})

    assert reading.cancelled()
