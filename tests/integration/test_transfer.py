from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from contactsvc_client import AsyncContactsClient

from contactsvc import store
from contactsvc.config import Settings
from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import StartupError
from contactsvc.store import COLLECTION, SCHEMA_VERSION, Collection, Deployment, Document, from_document
from contactsvc.transfer.exporter import JsonLinesSink, export
from contactsvc.transfer.formats import Header, Row
from contactsvc.transfer.importer import Counts, OnConflict, Restore
from contactsvc.transfer.run import export_to, import_from
from contactsvc.transfer.sources import JsonLines
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, OpenStores, failure_of, serving
from tests.integration.service_process import running_service
from tests.integration.stored import NOON, PERSONAL, document

# Contact values of the tests hold this, so that it must never be printed.
NOTHING = {"created": 0, "updated": 0, "unchanged": 0, "skipped": 0, "failed": 0, "dry_run": False}


@dataclass
class World:
    """Two fresh databases: one that is exported, with a service on it, and one that is imported into."""

    uri: str
    deployment: Deployment
    name: str
    other: str
    collection: Collection
    restored: Collection
    api: Api

    async def run(self, *arguments: str, database: str = "", limit: str = "") -> tuple[int, str, str]:
        """Run a command as an operator does."""
        process = await self.start(*arguments, database=database, limit=limit)
        out, err = await process.communicate()
        assert process.returncode is not None
        assert PERSONAL not in err.decode()
        return process.returncode, out.decode(), err.decode()

    async def start(self, *arguments: str, database: str = "", limit: str = "") -> asyncio.subprocess.Process:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
        command = [sys.executable, "-m", "contactsvc", *arguments]
        if limit:
            command = ["sh", "-c", f'{limit}; exec "$@"', "sh", *command]
        return await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean, "CONTACTSVC_MONGODB_URI": self.uri, "CONTACTSVC_DATABASE": database or self.name},
        )

    async def exported(self, path: Path) -> None:
        code, _, err = await self.run("export", "--environment", "live", "--output", str(path))
        assert code == 0, err

    async def imported(self, path: Path, *flags: str) -> tuple[int, dict[str, Any], str]:
        code, out, err = await self.run(
            "import", str(path), "--environment", "live", "--json", *flags, database=self.other
        )
        return code, json.loads(out) if out else {}, err


@pytest.fixture
async def world(embedded_uri: str) -> AsyncIterator[World]:
    deployment = await store.connect(embedded_uri, DRIVER)
    name, other = (f"test_{uuid.uuid4().hex[:12]}" for _ in range(2))
    try:
        stores = {environment: await deployment.open_store(f"{name}_{environment}") for environment in Environment}
        collection, restored = (deployment.driver.database(f"{one}_live")[COLLECTION] for one in (name, other))
        async with serving(stores) as api:
            yield World(embedded_uri, deployment, name, other, collection, restored, api)
    finally:
        await deployment.close()


VARIED = [
    document("plain"),
    document("primary", is_primary=True, verified_at=NOON, external_id="crm-1", label='A "label", and more'),
    # Kept by lenient rules.
    document("unreadable", type="phone", value=f"ask {PERSONAL}", value_key=None),
    # By rules that have changed since.
    document("stale", type="phone", value="+52 1 55 1234 5678", value_key="phone:+5215512345678", client_id="c2"),
    document(
        "odd",
        type="other",
        value="=1+1\u2028é\u0301",
        value_key="other:=1+1\u2028é\u0301",
        metadata=["a=b=c", 'd="\n\r\0,'],
    ),
]


async def contents(collection: Collection) -> dict[str, Document]:
    """Return all records without what a restore makes anew, and what remembers requests."""
    found = {document["_id"]: document for document in await collection.find({}).to_list(length=None)}
    for one in found.values():
        one["metadata"] = sorted(one.get("metadata", []))
    left_out = {"etag", "requests", "request_ids"}
    return {
        id_: {name: value for name, value in one.items() if name not in left_out}
        for id_, one in found.items()
        if "client_id" in one
    }


async def test_a_restore_is_exact_and_can_be_repeated(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    await world.api.create("c9", is_primary=True, request_id="r")
    path = tmp_path / "backup.jsonl"

    await world.exported(path)
    trial = await world.imported(path, "--dry-run")
    made_by_trial = await world.restored.database.list_collection_names()
    first = await world.imported(path)
    etags = {one["_id"]: one["etag"] for one in await world.restored.find({}).to_list(length=None)}
    second = await world.imported(path)

    assert trial == (0, {**NOTHING, "created": 6, "dry_run": True}, "")
    assert made_by_trial == []
    assert first == (0, {**NOTHING, "created": 6}, "")
    assert second == (0, {**NOTHING, "unchanged": 6}, "")
    assert await contents(world.restored) == await contents(world.collection)
    assert etags == {one["_id"]: one["etag"] for one in await world.restored.find({}).to_list(length=None)}
    assert not etags.items() & {one["_id"]: one["etag"] for one in VARIED}.items()
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["backup.jsonl"]


async def test_an_export_can_be_of_some_records(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)

    code, out, err = await world.run(
        "export", "--environment", "live", "--format", "csv", "--client-id", "client_1", "--type", "email"
    )

    assert (code, err) == (0, "exported 2 contact methods\n")
    assert [line.split(",")[0] for line in out.splitlines()] == ["id", "plain", "primary"]


@pytest.mark.parametrize(("on_conflict", "code"), [("error", 1), ("skip", 0), ("update", 0)])
async def test_a_record_with_other_content_is_left_alone_unless_told_otherwise(
    world: World, tmp_path: Path, on_conflict: str, code: int
) -> None:
    await world.collection.insert_many(VARIED)
    await world.exported(tmp_path / "a.jsonl")
    await world.imported(tmp_path / "a.jsonl")
    await world.restored.update_one({"_id": "plain"}, {"$set": {"label": "changed since", "etag": "theirs"}})

    result, counts, err = await world.imported(tmp_path / "a.jsonl", "--on-conflict", on_conflict, "--on-error", "skip")

    after = await world.restored.find_one({"_id": "plain"})
    assert after is not None
    name = {"error": "failed", "skip": "skipped", "update": "updated"}[on_conflict]
    assert (result, counts) == (code, {**NOTHING, "unchanged": 4, name: 1})
    assert ("label" not in after) is (on_conflict == "update")
    assert (after["etag"] == "theirs") is (on_conflict != "update")
    assert ("plain: id is that of plain, which has other content" in err) is (on_conflict == "error")


async def test_nothing_takes_a_primary_or_an_external_id_from_a_record_that_keeps_it(
    world: World, tmp_path: Path
) -> None:
    await world.collection.insert_many(VARIED)
    await world.exported(tmp_path / "a.jsonl")
    await world.deployment.open_store(f"{world.other}_live")
    theirs = [document("theirs", is_primary=True), document("theirs too", client_id="c3", external_id="crm-1")]
    await world.restored.insert_many(theirs)
    refusals = ["external_id is that of theirs too", "is_primary theirs is the primary of this client and type"]

    for refusal in refusals:
        code, counts, err = await world.imported(tmp_path / "a.jsonl", "--on-conflict", "update", "--on-error", "skip")
        assert (code, counts["failed"]) == (1, 1)
        assert err == f"line 4: primary: {refusal}\n"
        await world.restored.delete_one({"_id": "theirs too"})

    present = await contents(world.restored)
    assert present.keys() == {"theirs", "plain", "unreadable", "stale", "odd"}
    assert present["theirs"]["is_primary"]


async def test_what_one_row_gives_up_another_takes_in_whatever_order(world: World, tmp_path: Path) -> None:
    before = [
        *(document(f"a{i:03}", client_id=f"c{i}", external_id=f"x{i}", is_primary=True) for i in range(300)),
        *(document(f"b{i:03}", client_id=f"c{i}") for i in range(300)),
    ]
    await world.deployment.open_store(f"{world.other}_live")
    await world.restored.insert_many(before)
    # The takers come first in the file, and in other batches than the givers.
    now = datetime.now(UTC).replace(microsecond=0)
    after = [
        *(document(f"b{i:03}", client_id=f"c{i}", external_id=f"x{i}", is_primary=True) for i in range(300)),
        *(document(f"a{i:03}", client_id=f"c{i}", updated_at=now) for i in range(300)),
    ]
    await world.collection.insert_many(after)
    await world.exported(tmp_path / "a.jsonl")

    result = await world.imported(tmp_path / "a.jsonl", "--on-conflict", "update")

    assert result == (0, {**NOTHING, "updated": 600}, "")
    assert await contents(world.restored) == await contents(world.collection)


async def test_a_record_that_was_deleted_comes_back(world: World, tmp_path: Path) -> None:
    # Its id is taken by what remembers the requests that made and deleted it.
    made = await world.api.create("client_1", is_primary=True, request_id="create")
    before = await contents(world.collection)
    await world.exported(tmp_path / "a.jsonl")
    await world.api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=made.id, request_id="delete"))

    code, out, err = await world.run("import", str(tmp_path / "a.jsonl"), "--environment", "live")

    assert (code, err) == (0, "")
    assert out == "1 created, 0 updated, 0 unchanged, 0 skipped, 0 failed\n"
    assert await contents(world.collection) == before
    # Late retries of both requests change nothing.
    await world.api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=made.id, request_id="delete"))
    assert await world.api.primary_id("client_1") == made.id


async def test_an_export_beside_writers_can_be_restored_and_has_what_nobody_touched_once(
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
        await world.exported(path)
    finally:
        done.set()
    counts = await asyncio.gather(*writers)
    code, _, err = await world.imported(path)

    assert min(counts) > 1
    assert (code, err) == (0, "")
    ids = [json.loads(line).get("id") for line in path.read_text().splitlines()]
    assert sorted(id_ for id_ in ids if id_ and id_.startswith("q")) == [one["_id"] for one in quiet]
    restored = await contents(world.restored)
    primaries = [one["client_id"] for one in restored.values() if one["is_primary"] and one["client_id"] in slots]
    assert sorted(primaries) == slots


class Overtaken:
    """A store on which something happens while it is read."""

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
async def test_a_primary_that_moves_during_an_export_is_one_in_the_file(
    world: World, tmp_path: Path, new_primary: str
) -> None:
    old_primary = {"r000": "r400", "r400": "r000"}[new_primary]
    await world.collection.insert_many(
        document(f"r{i:03}", is_primary=f"r{i:03}" == old_primary, created_at=NOON + timedelta(seconds=i))
        for i in range(401)
    )

    async def during() -> None:
        request = pb.UpdateContactMethodRequest(id=new_primary, is_primary=True)
        await world.api.stub.UpdateContactMethod(request)

    async def late() -> None:
        # It carries the time at which it began, and took effect only after that had been passed.
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
        await world.collection.insert_one(document("late", client_id="c2", created_at=began, updated_at=began))

    read: Any = Overtaken(world.api.stores[Environment.LIVE], during, late)
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        await export(read, JsonLinesSink(file), environment="live", wanted=Filter(), progress=lambda done, total: None)
    rows = [numbered.row for numbered in JsonLines(io.BytesIO(path.read_bytes())).rows(ValueRules(), NOON)]

    records = {row.record.id: row.record for row in rows if isinstance(row, Row)}
    assert len(rows) == len(records) == 402
    assert [id_ for id_, one in records.items() if one.is_primary] == [new_primary]


async def test_an_import_that_is_killed_is_finished_by_the_next_one(world: World, tmp_path: Path) -> None:
    planted = [document(f"r{i:04}", client_id=f"c{i}", is_primary=True) for i in range(1_500)]
    await world.collection.insert_many(planted)
    path = tmp_path / "a.jsonl"
    await world.exported(path)

    process = await world.start("import", str(path), "--environment", "live", database=world.other)
    async with asyncio.timeout(60):
        # Another process is waited for, which sets no event here.
        while not await world.restored.find_one({"client_id": "c0"}):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    code, counts, err = await world.imported(path)

    # The database may still be at the transaction of the one that was killed.
    assert (
        code,
        err.removeprefix("waiting for somebody else's write, such as that of an import that was killed\n"),
    ) == (
        0,
        "",
    )
    assert counts["created"] + counts["unchanged"] == len(planted)
    assert counts["created"] > 0
    assert counts["unchanged"] > 0
    assert await contents(world.restored) == await contents(world.collection)


async def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    path = tmp_path / "a.jsonl"
    await world.exported(path)
    path.write_bytes(path.read_bytes()[:-20])

    code, out, err = await world.run("import", str(path), "--environment", "live", database=world.other)

    assert (code, out) == (1, "")
    assert err == f"contactsvc: cannot import {path}: it was cut off: its last line is missing\n"
    assert await world.restored.database.list_collection_names() == []


async def test_a_disk_that_is_full_leaves_no_file(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many([document(f"r{i:04}", client_id=f"c{i}") for i in range(100)])
    path = tmp_path / "a.jsonl"

    to_file = await world.run("export", "--environment", "live", "--output", str(path), limit="ulimit -f 8")
    to_output = await world.run("export", "--environment", "live", limit="exec > /dev/full")

    assert to_file == (1, "", f"contactsvc: cannot write {path}: File too large\n")
    assert to_output == (1, "", "contactsvc: cannot write to standard output: No space left on device\n")
    assert os.listdir(tmp_path) == []


async def test_a_trial_without_a_place_for_its_notes_ends_with_a_line_that_says_so(
    world: World, tmp_path: Path
) -> None:
    # More than the trial keeps in memory.
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        sink = JsonLinesSink(file)
        sink.begin(Header("live", NOON))
        for i in range(250):
            sink.put(from_document(document(f"r{i}", metadata=[f"k{n}={'x' * 500}" for n in range(40)])))
        sink.end()

    code, out, err = await world.run(
        *("import", str(path), "--environment", "live", "--dry-run"), database=world.other, limit="ulimit -f 8"
    )

    assert (code, out) == (1, "")
    assert re.fullmatch(r"contactsvc: cannot write the temporary file of the trial \(SQLITE_\w+\); .*\n", err)


async def test_what_is_imported_is_the_file_that_was_checked(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    path, other = tmp_path / "a.jsonl", tmp_path / "other"
    await world.exported(path)
    other.write_text("no export")
    told: list[str] = []

    def replaced(line: str) -> None:
        # It comes when the file has been checked.
        told.append(line)
        other.replace(path)

    counts = await trial_of(world, path, Environment.TEST, tell=replaced)

    assert told == ["note: the file is an export of live, and is imported into test"]
    assert counts == Counts(created=len(VARIED))


async def trial_of(world: World, path: Path, environment: Environment, *, tell: Callable[[str], None]) -> Counts:
    return await import_from(
        path,
        Settings(mongodb_uri=world.uri, database=world.name, driver=DRIVER),
        environment,
        as_csv=path.suffix == ".csv",
        on_conflict=OnConflict.ERROR,
        stops=True,
        dry_run=True,
        tell=tell,
        progress=lambda done: None,
    )


async def test_a_document_that_cannot_be_read_is_named(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await world.collection.insert_many(VARIED)
    path = tmp_path / "a.jsonl"
    await world.exported(path)
    changes: list[Document] = [
        {"$unset": {"metadata": ""}},
        {"$set": {"metadata": [PERSONAL]}},
        {"$set": {"type": PERSONAL}},
        {"$set": {"value_key": 7}},
        {"$set": {"client_id": 7}},
        {"$set": {"value": 7}},
        {"$set": {"is_primary": PERSONAL}},
        {"$set": {"created_at": PERSONAL}},
        {"$set": {"updated_at": None}},
        {"$set": {"etag": None}},
        {"$set": {"label": 7}},
        {"$set": {"verified_at": PERSONAL}},
        {"$set": {"external_id": 7}},
        {"$set": {"schema_version": SCHEMA_VERSION + 1}},
    ]
    settings = Settings(mongodb_uri=world.uri, database=world.name, driver=DRIVER)
    failures = []

    for change in changes:
        before: Any = await world.collection.find_one_and_update({"_id": "plain"}, change)
        with pytest.raises(StartupError) as exported:
            await export_to(
                tmp_path / "b.jsonl",
                settings,
                Environment.LIVE,
                as_csv=False,
                wanted=Filter(),
                progress=lambda done, total: None,
            )
        with pytest.raises(StartupError) as imported:
            await trial_of(world, path, Environment.LIVE, tell=lambda line: None)
        assert str(exported.value) == str(imported.value)
        failures.append(str(exported.value))
        assert (await failure_of(world.api.get("plain"))).code is grpc.StatusCode.INTERNAL
        await world.collection.replace_one({"_id": "plain"}, before)

    *others, newer = failures
    assert set(others) == {"the document plain cannot be read; run `contactsvc doctor` to list its invalid fields"}
    assert newer.startswith(f"the document plain has layout {SCHEMA_VERSION + 1}")
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert "UnreadableDocument" in caplog.text
    assert PERSONAL not in caplog.text


async def test_a_list_is_imported_once(world: World, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "client_id,type,value,label,is_primary,external_id,metadata.source\n"
        f"client_1,email,{PERSONAL}@example.com,Home,true,,crm\n"
        "client_1,phone,55 1234 5678,,,crm-7,\n"
        f"c2,email,not {PERSONAL},,,,\n"
        f"c2,pigeon,{PERSONAL},,maybe,,\n"
        f"client_1,email,{PERSONAL}.else@example.com,,yes,,\n"
        "client_1,phone,55 1234 5679,,,crm-7,\n"
    )
    flags = ("--default-region", "MX", "--on-error", "skip")

    trial = await world.imported(path, *flags, "--dry-run")
    first = await world.imported(path, *flags)
    once = await contents(world.restored)
    second = await world.imported(path, *flags)

    assert (trial[:2], trial[2]) == ((1, {**NOTHING, "created": 2, "failed": 4, "dry_run": True}), first[2])
    assert first[:2] == (1, {**NOTHING, "created": 2, "failed": 4})
    assert second[:2] == (1, {**NOTHING, "unchanged": 2, "failed": 4})
    assert await contents(world.restored) == once
    email, phone = sorted(once.values(), key=lambda one: str(one["type"]))
    assert (email["is_primary"], email["label"], email["metadata"]) == (True, "Home", ["source=crm"])
    assert (phone["external_id"], phone["value_key"]) == ("crm-7", "phone:+525512345678")
    lines = first[2].splitlines()
    assert [re.match(r"line (\d)", line)[1] for line in lines] == ["4", "5", "7", "6"]  # type: ignore[index]
    assert "value must be an email address" in lines[0]
    assert "is_primary must be true or false" in lines[1]
    assert lines[2] == f"line 7: {phone['_id']}: record is that of line 3 as well"
    assert f"is_primary {email['_id']} is the primary of this client and type" in lines[3]


async def test_an_import_stops_at_a_faulty_row_before_its_batch(world: World, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    good = [f"c{i},email,{PERSONAL}{i}@example.com\n" for i in range(400)]
    path.write_text("client_id,type,value\n" + "".join(good[:300]) + "c,email,nobody\n" + "".join(good[300:]))

    trial = await world.imported(path, "--dry-run")
    told: list[str] = []
    stopped_trial = await trial_of(world, path, Environment.LIVE, tell=told.append)
    code, counts, err = await world.imported(path)

    assert (code, counts) == (1, {**NOTHING, "created": 250, "failed": 1})
    assert err.startswith("line 302: ")
    assert err.endswith(
        "\nstopped; what was written before stays, and the import can be repeated (--on-error skip goes on)\n"
    )
    # A trial looks at every row, unless told otherwise, and says nothing of what it has written.
    assert trial == (1, {**NOTHING, "created": 400, "failed": 1, "dry_run": True}, err.splitlines(keepends=True)[0])
    assert stopped_trial == Counts(created=250, failed=1)
    assert told[1:] == ["stopped; --on-error skip goes on"]


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


async def test_every_kind_of_database_can_be_restored(open_stores: OpenStores, tmp_path: Path) -> None:
    stores, others = await open_stores(), await open_stores()
    path = tmp_path / "a.jsonl"
    async with serving(stores) as api:
        made = [await api.create(f"c{i}", is_primary=True, external_id=f"x{i}") for i in range(3)]
        with path.open("wb") as file:
            await export(
                stores[Environment.LIVE],
                JsonLinesSink(file),
                environment="live",
                wanted=Filter(),
                progress=lambda done, total: None,
            )
    counts = []
    for _ in range(2):
        restore = Restore(
            others[Environment.LIVE],
            on_conflict=OnConflict.UPDATE,
            stops=True,
            tell=lambda failure: None,
            progress=lambda done: None,
            now=NOON,
        )
        await restore.run(JsonLines(io.BytesIO(path.read_bytes())).rows(ValueRules(), NOON))
        counts.append(restore.counts)

    assert counts == [Counts(created=3), Counts(unchanged=3)]
    async with serving(others) as api:
        for one in made:
            found = await api.get(one.id)
            found.etag = one.etag
            assert found == one
            assert await api.primary_id(one.client_id) == one.id
