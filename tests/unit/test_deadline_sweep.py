"""One timer for the deadlines of all reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.rpc.call_tasks import running_task
from contactsvc.rpc.deadline_sweep import DeadlineSweep


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def run(sweep: DeadlineSweep, work: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
    deadlines.begin(seconds)
    return await sweep.run(work, running_task())


async def test_a_result_before_the_deadline_is_returned() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    sweep = DeadlineSweep()

    assert await run(sweep, work(), 60) == "done"
    assert await run(sweep, work(), None) == "done"


async def test_each_task_ends_at_its_own_deadline() -> None:
    sweep = DeadlineSweep()
    long = asyncio.create_task(run(sweep, forever(), 3600))

    results = await asyncio.gather(*(run(sweep, forever(), 0.001) for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [DeadlineExceeded] * 3
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_a_task_can_be_used_after_its_deadline() -> None:
    sweep = DeadlineSweep()
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await run(sweep, forever(), 0.001)
    task = running_task()
    assert not task.cancelling()
    async with asyncio.timeout(60):
        await asyncio.sleep(0)


async def test_a_cancellation_by_others_remains_one() -> None:
    sweep = DeadlineSweep()

    async def leaves_slowly() -> None:
        with suppress(asyncio.CancelledError):
            await forever()
        swept.set()
        await forever()

    swept = asyncio.Event()
    task = asyncio.create_task(run(sweep, leaves_slowly(), 0.001))
    await swept.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_while_it_ends_is_raised_and_leaves_no_cancellation_behind() -> None:
    sweep = DeadlineSweep()

    async def fails() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise StoreUnavailable from None

    with pytest.raises(StoreUnavailable):
        await run(sweep, fails(), 0.001)
    assert not running_task().cancelling()
