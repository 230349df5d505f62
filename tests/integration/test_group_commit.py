from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from contactsvc import deadlines
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import Environment
from contactsvc.errors import DeadlineExceeded
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.drivers import Driver
from contactsvc.store.transactions import KeyLocks
from tests.conftest import Api, OpenStores, serving


class DriverOf:
    """A driver whose server is another one."""

    def __init__(self, driver: Driver, refusal: int | None = None) -> None:
        self._driver = driver
        self._refusal = refusal
        self.writers = asyncio.Semaphore(8)
        self.commands = 0

    async def write_each(self, writes: Sequence[Any]) -> list[int | Mapping[str, Any]]:
        self.commands += 1
        if self._refusal is not None:
            raise OperationFailure("refused", self._refusal)
        return await self._driver.write_each(writes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


async def changed_store(on_embedded: OpenStores, refusal: int | None = None) -> tuple[CoalescingStore, Any, Api]:
    """Return a store on such a driver, the driver, and the means to make records in it."""
    stores: Any = await on_embedded()
    original = stores[Environment.LIVE]
    driver: Any = DriverOf(original._driver, refusal)
    stores[Environment.LIVE] = CoalescingStore(original._collection, driver, KeyLocks(), reports_each_write=True)
    return stores[Environment.LIVE], driver, stores


def labelled(record: ContactMethod, label: str) -> ChangeSet:
    return ChangeSet([], [(record, replace(record, label=label, etag=new_etag()))], [], [])


async def records_of(store: CoalescingStore, stores: Any, count: int) -> list[ContactMethod]:
    async with serving(stores) as api:
        made = [await api.create() for _ in range(count)]
    found = [await store.find(record.id) for record in made]
    return [record for record in found if record is not None]


@pytest.mark.parametrize(("refusal", "commands"), [(None, 1), (59, 1), (115, 1)])
async def test_changes_are_made_also_where_the_server_does_not_know_the_command(
    on_embedded: OpenStores, refusal: int | None, commands: int
) -> None:
    store, driver, stores = await changed_store(on_embedded, refusal)
    records = await records_of(store, stores, 9)

    await asyncio.gather(*(store.write(labelled(record, "first")) for record in records))
    first = [await store.find(record.id) for record in records]
    assert [record.label for record in first if record] == ["first"] * 9
    assert driver.commands == commands

    await asyncio.gather(*(store.write(labelled(record, "second")) for record in first if record))
    second = [await store.find(record.id) for record in records]
    assert [record.label for record in second if record] == ["second"] * 9
    # What was refused once is not asked for again.
    assert driver.commands == (2 * commands if refusal is None else commands)


async def test_a_change_that_waited_beyond_its_deadline_is_not_made(on_embedded: OpenStores) -> None:
    store, driver, stores = await changed_store(on_embedded)
    (record,) = await records_of(store, stores, 1)
    driver.writers = asyncio.Semaphore(0)

    async def late() -> None:
        deadlines.begin(0.001)
        await store.write(labelled(record, "late"))

    writing = asyncio.create_task(late())
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, passed.set_result, None)
    await passed
    driver.writers.release()

    with pytest.raises(DeadlineExceeded):
        await writing
    assert await store.find(record.id) == record
