from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient

from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.domain.normalization import ValueRules
from contactsvc.transfer.exporter import export
from contactsvc.transfer.json_lines import JsonLinesSink, JsonLinesSource
from contactsvc.transfer.sources import Row
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.integration.service_process import running_service
from tests.integration.stored import NOON, PERSONAL, document
from tests.integration.transfer_world import World, contents


async def test_an_export_beside_writers_can_be_restored_and_has_unchanged_records_once(
    world: World, tmp_path: Path
) -> None:
    quiet = [document(f"q{i:04}", client_id=f"q{i}", is_primary=True) for i in range(700)]
    slots = [f"s{i}" for i in range(8)]
    contested = [document(f"{slot}_{i}", client_id=slot, is_primary=i == 0) for slot in slots for i in range(3)]
    await world.collection.insert_many([*quiet, *contested])
    path, done = tmp_path / "a.jsonl", asyncio.Event()

    async def switch(slot: str) -> int:
        count = 0
        while not done.is_set():
            count += 1
            await world.api.stub.UpdateContactMethod(
                pb.UpdateContactMethodRequest(id=f"{slot}_{count % 3}", is_primary=True)
            )
            extra = await world.api.create(slot)
            if count % 2:
                await world.api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=extra.id))
        return count

    writers = [asyncio.create_task(switch(slot)) for slot in slots]
    try:
        code, _, err = await world.run("export", "--environment", "live", "--output", str(path))
    finally:
        done.set()
    counts = await asyncio.gather(*writers)
    imported, messages = await world.imported(path)

    assert code == 0, err
    assert min(counts) > 1
    assert (imported.failed, messages) == (0, [])
    ids = [json.loads(line).get("id") for line in path.read_text().splitlines()]
    assert sorted(id_ for id_ in ids if id_ and id_.startswith("q")) == [one["_id"] for one in quiet]
    restored = await contents(world.restored)
    primaries = [one["client_id"] for one in restored.values() if one["is_primary"] and one["client_id"] in slots]
    assert sorted(primaries) == slots


class OvertakenStore:
    """A store that changes while it is read.

    Args:
        store: the store.
        during: runs after the first page of the first pass.
        late: runs after the second pass.
    """

    def __init__(self, store: Any, during: Callable[[], Awaitable[None]], late: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._during = during
        self._late = late
        self._passes = 0

    async def stream_pages(self, listing: Any) -> AsyncIterator[Any]:
        pages = [page async for page in self._store.stream_pages(listing)]
        yield pages[0]
        await self._during()
        for page in pages[1:]:
            yield page

    async def find_page(self, listing: Any) -> Any:
        page = await self._store.find_page(listing)
        self._passes += 1
        if self._passes == 2:
            await self._late()
        return page


@pytest.mark.parametrize("new_primary", ["r000", "r400"])
async def test_a_primary_that_moves_during_an_export_is_in_the_file_once(world: World, new_primary: str) -> None:
    old_primary = {"r000": "r400", "r400": "r000"}[new_primary]
    await world.collection.insert_many(
        document(f"r{i:03}", is_primary=f"r{i:03}" == old_primary, created_at=NOON + timedelta(seconds=i))
        for i in range(401)
    )

    async def during() -> None:
        request = pb.UpdateContactMethodRequest(id=new_primary, is_primary=True)
        await world.api.stub.UpdateContactMethod(request)

    async def late() -> None:
        # A write carries the time at which it began; this one took effect after the export had passed that time.
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
        await world.collection.insert_one(document("late", client_id="c2", created_at=began, updated_at=began))

    read: Any = OvertakenStore(world.api.stores[Environment.LIVE], during, late)
    file = io.BytesIO()
    await export(read, JsonLinesSink(file), environment="live", wanted=Filter(), on_progress=lambda done, total: None)
    rows = [numbered.row for numbered in JsonLinesSource(io.BytesIO(file.getvalue())).rows(ValueRules(), NOON)]

    records = {row.record.id: row.record for row in rows if isinstance(row, Row)}
    assert len(rows) == len(records) == 402
    assert [id_ for id_, one in records.items() if one.is_primary] == [new_primary]


async def test_a_killed_import_is_completed_by_the_next_one(world: World, tmp_path: Path) -> None:
    planted = [document(f"r{i:04}", client_id=f"c{i}", is_primary=True) for i in range(1_500)]
    await world.collection.insert_many(planted)
    path = tmp_path / "a.jsonl"
    await world.exported(path)

    process = await world.start("import", str(path), "--environment", "live", database=world.other)
    async with asyncio.timeout(60):
        # The other process sets no event here.
        while not await world.restored.find_one({"client_id": "c0"}):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    counts, messages = await world.imported(path)

    # The database may still hold the transaction of the killed import.
    assert set(messages) <= {"waiting for another writer, such as the transaction of a killed import"}
    assert counts.failed == 0
    assert counts.created + counts.unchanged == len(planted)
    assert counts.created > 0
    assert counts.unchanged > 0
    assert await contents(world.restored) == await contents(world.collection)


async def test_a_backup_and_a_restore_beside_a_running_service(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "backup.jsonl"
    command = (sys.executable, "-m", "contactsvc")
    async with running_service(data) as service:
        async with AsyncContactsClient(service.address) as sdk:
            made = await sdk.contact_methods.create(
                client_id="client_1", type="email", value=f"{PERSONAL}@example.com", is_primary=True
            )
            for arguments in (
                ("export", "--environment", "live", "--output", str(path), "--data-dir", str(data)),
                ("import", str(path), "--environment", "test", "--data-dir", str(data)),
            ):
                process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=-3, stderr=-3)
                assert await process.wait() == 0
        async with AsyncContactsClient(service.address, environment="test") as sdk:
            assert (await sdk.contact_methods.get_primary("client_1", "email")).id == made.id  # type: ignore[union-attr]
