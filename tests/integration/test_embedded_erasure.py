"""Erased values are gone from the embedded database: from its change log at once, from its files at the next start."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.embedded_names import ERASURES
from contactsvc.runtime import embedded, erased_values
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, serving

MARKER = "value-of-the-erased"


@asynccontextmanager
async def service(database: embedded.EmbeddedDatabase) -> AsyncIterator[Api]:
    deployment = await store.connect(database.uri, "pymongo")
    stores = {environment: await deployment.open_store(f"erasure_{environment}") for environment in Environment}
    async with serving(stores, clock=deployment.clock) as api:
        yield api
    await deployment.close()


async def make_and_erase(api: Api) -> None:
    """Create, change, delete and erase records with the marker in every field that has room for one."""
    for number in range(3):
        record = await api.create(
            "erased", f"{MARKER}.{number}@example.com", label=MARKER, external_id=f"{MARKER}-{number}",
            metadata={"key": MARKER}, request_id=f"request-{number}",
        )  # fmt: skip
        await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, label=f"{MARKER} again"))
    await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=record.id))
    await api.create("kept", "kept@example.com", request_id="kept")
    await api.stub.EraseClientContactMethods(
        pb.EraseClientContactMethodsRequest(client_id="erased", request_id="erasure")
    )


def files_with_marker(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file() and MARKER.encode() in path.read_bytes()]


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def markers_in_change_log(client: AsyncMongoClient[dict[str, Any]]) -> int:
    return sum(MARKER in repr(entry) for entry in await client["local"]["oplog.rs"].find({}).to_list())


async def test_erased_values_leave_the_change_log_of_a_running_database(tmp_path: Path) -> None:
    async with (
        embedded.running(tmp_path, erasure_grace_seconds=0.5) as database,
        AsyncMongoClient[dict[str, Any]](database.uri) as client,
        service(database) as api,
    ):
        async with await client["erasure_live"]["contact_methods"].watch() as stream:
            await api.create("erased", f"{MARKER}@example.com")
            token = (await stream.next())["_id"]
        await make_and_erase(api)

        async with asyncio.timeout(60):
            while await markers_in_change_log(client) or await client["erasure_live"][ERASURES].find_one():
                continue

        # What came before the erasure is over for readers of the change log, and what comes now is not.
        with pytest.raises(OperationFailure, match="resume"):
            async with await client["erasure_live"]["contact_methods"].watch(resume_after=token) as stream:
                await stream.try_next()
        async with await client["erasure_live"]["contact_methods"].watch() as stream:
            await api.create("kept", "other@example.com")
            assert (await stream.next())["operationType"] == "insert"
        assert await api.total() == 2


async def test_erased_values_leave_the_files_at_the_next_start(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database, service(database) as api:
        await make_and_erase(api)
    before = files_with_marker(tmp_path)

    async with (
        embedded.running(tmp_path) as database,
        AsyncMongoClient[dict[str, Any]](database.uri) as client,
        service(database) as api,
    ):
        while_running = files_with_marker(tmp_path)
        assert await markers_in_change_log(client) == 0
        # Nothing else has changed.
        kept = await api.create("kept", "kept@example.com", request_id="kept")
        assert (await api.get(kept.id)).value == "kept@example.com"
        erased = await api.stub.EraseClientContactMethods(
            pb.EraseClientContactMethodsRequest(client_id="erased", request_id="erasure")
        )

    assert before
    assert while_running == files_with_marker(tmp_path) == []
    assert erased.erased_count == 2
    assert names_in(tmp_path) == {"database", "database.lock", "database.log", "database.password", "serve.lock"}


async def test_an_erasure_of_a_client_whose_records_were_deleted_before_counts(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database, service(database) as api:
        record = await api.create("erased", f"{MARKER}@example.com")
        await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=record.id))
        await api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="erased"))

    async with embedded.running(tmp_path):
        pass

    assert files_with_marker(tmp_path) == []


async def test_without_an_erasure_the_files_are_not_rewritten(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database, service(database) as api:
        await api.create("deleted", f"{MARKER}@example.com")
    (before,) = {(tmp_path / "database").stat().st_ino}

    async with embedded.running(tmp_path):
        pass

    assert (tmp_path / "database").stat().st_ino == before
    assert files_with_marker(tmp_path)


def without_room(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make processes that start from now on see a disk with less free space than a rewrite needs."""
    # Python imports this module at its start. The journal has room, so that the database itself starts.
    module = """
        import shutil
        shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1 << 30, (1 << 30) - (20 << 20), 20 << 20)
    """
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(dedent(module))
    monkeypatch.setenv("PYTHONPATH", str(directory))


async def test_without_room_for_a_rewrite_the_files_stay_until_a_start_with_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    async with embedded.running(data) as database, service(database) as api:
        await make_and_erase(api)

    with monkeypatch.context() as patched:
        without_room(tmp_path / "python", patched)
        async with embedded.running(data) as database, service(database) as api:
            assert await api.total() == 1
    logged = caplog.text
    kept = files_with_marker(data)
    names = names_in(data)
    async with embedded.running(data):
        pass

    assert f"no room to rewrite the embedded database: its files in {data} keep erased values" in logged
    assert kept
    assert "database.erased" in names
    assert "no room" not in caplog.text.removeprefix(logged)
    assert files_with_marker(data) == []
    assert names_in(data) == names - {"database.erased"}


class Crash(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("survived", range(7))
async def test_a_rewrite_that_ends_anywhere_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    async with embedded.running(tmp_path) as database, service(database) as api:
        await make_and_erase(api)
    path, note = tmp_path / "database", tmp_path / "database.erased"
    note.touch()
    left = iter(range(survived))

    def crashing(done: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise Crash
            return done(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(erased_values, "_copy", crashing(erased_values._copy))
        patched.setattr(Path, "rename", crashing(Path.rename))
        patched.setattr(Path, "unlink", crashing(Path.unlink))
        patched.setattr(shutil, "rmtree", crashing(shutil.rmtree))
        patched.setattr(erased_values, "sync_directory", crashing(erased_values.sync_directory))
        with pytest.raises(Crash):
            erased_values.rewrite(path, note, lambda: None)
    assert note.exists()

    async with embedded.running(tmp_path) as database, service(database) as api:
        assert await api.total() == 1
    assert files_with_marker(tmp_path) == []
    assert not note.exists()
