"""The embedded database on a full disk, and on damaged files."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from contactsvc.errors import StartupError
from contactsvc.runtime import embedded, wiredtiger_files
from tests.robustness.faults import disk, processes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the file size of another process")
async def test_a_database_on_a_full_disk_ends_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = 0
    async with embedded.running(tmp_path) as database:
        (pid,) = processes.with_argument(str(tmp_path / "database"))
        disk.limit_files(pid)
        uri = f"{database.uri}&serverSelectionTimeoutMS=1000"
        async with AsyncMongoClient[dict[str, object]](uri) as client:
            # More than fits into the preallocated journal.
            for _ in range(2_000):
                with suppress(PyMongoError):
                    await client["full"]["disk"].insert_one({"text": "x" * 10_000})
                    acknowledged += 1
                if database.died.done():
                    break
        async with asyncio.timeout(20):
            assert "embedded database ended" in await database.died

    async with embedded.running(tmp_path) as database, AsyncMongoClient[dict[str, object]](database.uri) as client:
        assert acknowledged <= await client["full"]["disk"].count_documents({}) <= acknowledged + 10
    assert 0 < acknowledged < 2_000


async def test_a_full_disk_is_named_at_the_end_and_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with disk.Disk.mounted(path) as (mounted, reason):
        if mounted is None:
            pytest.skip(reason)
        async with embedded.running(path) as database:
            async with AsyncMongoClient[dict[str, object]](f"{database.uri}&serverSelectionTimeoutMS=1000") as client:
                await client["kept"]["kept"].insert_one({})
                await client["full"]["disk"].insert_one({})
                mounted.fill()
                # The journal panics once its present file is full. Not with a new collection: its table finds no room,
                # nothing is written, and only the next checkpoint, up to a minute later, panics.
                while not database.died.done():
                    with suppress(PyMongoError):
                        await client["full"]["disk"].insert_one({"text": "x" * 1_000_000})
            assert f"the embedded database ended, because the disk of {path} is full" in database.died.result()

        # Recovery may have made some room.
        mounted.fill()
        with pytest.raises(StartupError, match=f"the disk of {path} is full; free at least 100 MB"):
            async with embedded.running(path):
                pass

        mounted.make_room()
        async with embedded.running(path) as database, AsyncMongoClient[dict[str, object]](database.uri) as client:
            assert await client["kept"]["kept"].count_documents({}) == 1
            await client["full"]["disk"].insert_one({})


async def test_a_table_whose_creation_was_cut_short_does_not_keep_the_database_from_starting(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database, AsyncMongoClient[dict[str, object]](database.uri) as client:
        await client["kept"]["kept"].insert_one({})
        await client["kept"]["other"].insert_one({})
    with wiredtiger_files.session(tmp_path / "database", wiredtiger_files.LOGGED) as session:
        tables = wiredtiger_files.configurations(session, "table:secantus_documents_")
        cursors = {table: session.open_cursor(table, None) for table in tables}
        (half_made,) = (table for table, cursor in cursors.items() if next(iter(cursor))[1] == "other")
        for cursor in cursors.values():
            cursor.close()
        session.drop(half_made.replace("table:", "colgroup:"))

    async with embedded.running(tmp_path) as database, AsyncMongoClient[dict[str, object]](database.uri) as client:
        assert await client["kept"]["kept"].count_documents({}) == 1
        await client["kept"]["other"].insert_one({})
        assert await client["kept"]["other"].count_documents({}) == 1


@pytest.mark.parametrize("name", ["WiredTiger.turtle", "WiredTiger.wt", "secantus_collections.wt"])
async def test_damaged_files_are_to_be_restored_from_an_export(tmp_path: Path, name: str) -> None:
    async with embedded.running(tmp_path):
        pass
    file = tmp_path / "database" / name
    file.write_bytes(b"\0" * file.stat().st_size)

    with pytest.raises(StartupError, match="restore the last export with `contactsvc import`") as failure:
        async with embedded.running(tmp_path):
            pass

    assert f"move {tmp_path / 'database'} to another place, and keep it" in str(failure.value)
    assert file.exists()
