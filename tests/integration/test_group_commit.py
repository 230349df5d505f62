from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from contactsvc import deadlines, store
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import Environment
from contactsvc.errors import DeadlineExceeded
from contactsvc.store import COLLECTION, Driver, MongoStore
from contactsvc.store.coalescing.store import CoalescingStore
from contactsvc.store.point_reads import PointReads
from contactsvc.store.transactions import KeyLocks
from tests.conftest import DRIVER, serving


class CountingDriver:
    """A driver that counts bulk writes, and refuses them with an error code if given one."""

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


@dataclass
class Opened:
    """A store on a counting driver, with some records."""

    store: CoalescingStore
    driver: CountingDriver
    records: list[ContactMethod]


@asynccontextmanager
async def opened(uri: str, *, records: int, refusal: int | None = None) -> AsyncIterator[Opened]:
    """Open such a store in a fresh database."""
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    deployment = await store.connect(uri, DRIVER)
    try:
        stores: dict[Environment, MongoStore] = {
            environment: await deployment.open_store(f"{prefix}_{environment}") for environment in Environment
        }
        collection = deployment.driver.database(f"{prefix}_live")[COLLECTION]
        driver: Any = CountingDriver(deployment.driver, refusal)
        reads = PointReads(deployment.driver.reads(f"{prefix}_live"), COLLECTION)
        live = CoalescingStore(collection, driver, KeyLocks(), reads, reports_each_write=True)
        async with serving({**stores, Environment.LIVE: live}) as api:
            made = [await api.create() for _ in range(records)]
            found = [await live.find(record.id) for record in made]
            yield Opened(live, driver, [record for record in found if record is not None])
    finally:
        await deployment.close()


def labelled(record: ContactMethod, label: str) -> ChangeSet:
    return ChangeSet([], [(record, replace(record, label=label, etag=new_etag()))], [], [])


@pytest.mark.parametrize("refusal", [None, 59, 115])
async def test_changes_are_written_even_if_the_server_does_not_know_the_command(
    embedded_uri: str, refusal: int | None
) -> None:
    async with opened(embedded_uri, records=9, refusal=refusal) as live:
        await asyncio.gather(*(live.store.write(labelled(record, "first")) for record in live.records))
        first = [await live.store.find(record.id) for record in live.records]
        assert [record.label for record in first if record] == ["first"] * 9
        assert live.driver.commands == 1

        await asyncio.gather(*(live.store.write(labelled(record, "second")) for record in first if record))
        second = [await live.store.find(record.id) for record in live.records]
        assert [record.label for record in second if record] == ["second"] * 9
        # A refused command is not tried again.
        assert live.driver.commands == (2 if refusal is None else 1)


async def test_a_change_whose_deadline_passes_while_it_waits_is_not_written(embedded_uri: str) -> None:
    async with opened(embedded_uri, records=1) as live:
        (record,) = live.records
        live.driver.writers = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()
        passed = loop.create_future()

        async def late() -> None:
            deadlines.begin(0.001)
            loop.call_later(0.05, passed.set_result, None)
            await live.store.write(labelled(record, "late"))

        writing = asyncio.create_task(late())
        await passed
        live.driver.writers.release()

        with pytest.raises(DeadlineExceeded):
            await writing
        assert await live.store.find(record.id) == record
