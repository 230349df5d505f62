"""The embedded database: how services and commands run, find and share it."""

from __future__ import annotations

import asyncio
import fcntl
import stat
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from contactsvc import store
from contactsvc.errors import StartupError
from contactsvc.runtime import embedded

STALE = "mongodb://127.0.0.1:1/?directConnection=true"


async def answers(uri: str) -> bool:
    deployment = await store.connect(uri, "pymongo")
    await deployment.close()
    return True


async def test_the_database_of_a_running_service_is_reached_beside_it(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database:
        async with embedded.reached(tmp_path) as uri:
            assert uri == database.uri
        # Leaving the block has not stopped it.
        assert await answers(uri)


async def test_the_published_uri_is_private_and_disappears_with_the_database(tmp_path: Path) -> None:
    path = tmp_path / "database.uri"

    async with embedded.running(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert not path.exists()


async def test_without_a_service_the_database_is_started(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database:
        earlier = database.uri
    # Left behind by a crash.
    (tmp_path / "database.uri").write_text(STALE)

    async with embedded.reached(tmp_path) as uri:
        assert uri != STALE
        assert await answers(uri)
        # A second command shares it, and a service is refused.
        async with embedded.reached(tmp_path) as second:
            assert second == uri
        with pytest.raises(StartupError, match="in use by another contactsvc"):
            async with embedded.running(tmp_path):
                pass

    assert "@127.0.0.1:" in earlier


async def test_a_service_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "database.uri").write_text(STALE)
    service = embedded.running(tmp_path)
    starting = asyncio.create_task(service.__aenter__())
    # Runs it up to its first wait: it holds the directory, but has no database yet.
    await asyncio.sleep(0)

    async with embedded.reached(tmp_path) as uri:
        assert starting.done()
        assert uri == starting.result().uri

    await service.__aexit__(None, None, None)


async def test_the_wait_for_a_process_that_publishes_no_uri_ends(tmp_path: Path) -> None:
    (tmp_path / "database.uri").write_text(STALE)
    with (tmp_path / "serve.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(StartupError, match="has not published the address of its database"):
            async with embedded.reached(tmp_path, timeout=0.1):
                pass


@pytest.mark.parametrize("name", ["", "absent"])
async def test_commands_that_only_read_create_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match="no embedded database in"):
        async with embedded.reached(tmp_path / name):
            pass

    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else runs in this loop


async def test_commands_that_write_can_create_a_database(tmp_path: Path) -> None:
    async with embedded.reached(tmp_path / "new", create=True) as uri:
        assert await answers(uri)


async def test_an_abandoned_transaction_is_aborted_after_the_idle_time(tmp_path: Path) -> None:
    async with (
        embedded.running(tmp_path, idle_transaction_seconds=1) as database,
        AsyncMongoClient[dict[str, Any]](database.uri) as client,
    ):
        records = client["any"]["records"]
        await records.insert_one({"_id": 1, "of": "nobody"})
        lost = client.start_session()
        await lost.start_transaction()
        await records.update_one({"_id": 1}, {"$set": {"of": "the lost one"}}, session=lost)

        # SecantusDB looks for idle transactions when another transaction runs a command.
        async with asyncio.timeout(40):
            write = asyncio.create_task(records.update_one({"_id": 1}, {"$set": {"of": "another"}}))
            while not write.done():
                async with client.start_session() as session, await session.start_transaction():
                    await records.find_one({"_id": 1}, session=session)
                await asyncio.wait({write}, timeout=0.2)

        found = await records.find_one({"_id": 1})
        await lost.end_session()
    assert found == {"_id": 1, "of": "another"}
