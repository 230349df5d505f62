from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from contactsvc import store
from contactsvc.domain.kinds import ContactMethodType, Environment
from contactsvc.errors import StartupError
from contactsvc.store import COLLECTION, SCHEMA_VERSION, Collection, Deployment, Document, MongoStore, repairs_of
from contactsvc.store.migrations import OLDEST_READ, STEPS, migrated, update_of
from contactsvc.store.transactions import KeyLocks
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import DRIVER, Api, failure_of, serving

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
EMAIL = pb.CONTACT_METHOD_TYPE_EMAIL


@dataclass
class Database:
    """A fresh database, and a service on it."""

    deployment: Deployment
    name: str
    collection: Collection
    api: Api

    async def by_id(self) -> dict[str, Document]:
        return {document["_id"]: document for document in await self.collection.find({}).to_list(length=None)}

    async def migrate(self) -> int:
        return await repairs_of(self.deployment, f"{self.name}_live").migrate()


@pytest.fixture(params=[True, False], ids=["batching", "no batching"])
async def database(request: pytest.FixtureRequest, embedded_uri: str) -> AsyncIterator[Database]:
    deployment = await store.connect(embedded_uri, DRIVER)
    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        stores = {
            environment: await deployment.open_store(f"{name}_{environment}", batching=request.param)
            for environment in Environment
        }
        async with serving(stores) as api:
            yield Database(deployment, name, deployment.driver.database(f"{name}_live")[COLLECTION], api)
    finally:
        await deployment.close()


def layout_1(id_: str, client_id: str, **fields: Any) -> Document:
    """Return a primary in layout 1."""
    return {
        "_id": id_,
        "client_id": client_id,
        "type": "email",
        "value": f"{id_}@example.com",
        "value_key": f"email:{id_}@example.com",
        "is_primary": True,
        "metadata": ["source=crm"],
        "created_at": NOON,
        "updated_at": NOON,
        "etag": f"etag of {id_}",
        "schema_version": 1,
        **fields,
    }


def idempotency_document_1(id_: str) -> Document:
    """Return an idempotency document in layout 1."""
    at = datetime.now(UTC)
    return {
        "_id": id_,
        "request_ids": [f"request of {id_}"],
        "requests": [{"id": f"request of {id_}", "digest": b"d", "at": at, "outcomes": []}],
        "forget_at": at + timedelta(hours=1),
        "schema_version": 1,
    }


def test_each_readable_layout_has_a_migration_step_to_the_next() -> None:
    assert list(STEPS) == list(range(OLDEST_READ, SCHEMA_VERSION))


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        (layout_1("a", "c"), {"primary_key": "email:c"}),
        (layout_1("a", "c", primary_key="email:c"), {}),
        (layout_1("a", "c", is_primary=False), {}),
        # Left by a release of layout 1 that demoted the record.
        (layout_1("a", "c", is_primary=False, primary_key="email:c"), {"primary_key": None}),
        (idempotency_document_1("a"), {}),
    ],
)
def test_a_migration_changes_only_primary_key_and_version(before: Document, changes: dict[str, str | None]) -> None:
    kept = dict(before)

    after = migrated(before)

    expected = {**before, **changes, "schema_version": SCHEMA_VERSION}
    assert after == {name: value for name, value in expected.items() if value is not None}
    assert before == kept
    assert migrated(after) == after


async def test_primaries_of_layout_1_are_found_and_demoted(database: Database) -> None:
    await database.collection.insert_many([layout_1("a", "c1"), layout_1("b", "c2")])

    found = [await database.api.primary_id(client_id, EMAIL) for client_id in ("c1", "c2", "c3")]
    promoted = await database.api.create("c1", is_primary=True)

    assert found == ["a", "b", None]
    assert await database.api.primary_id("c1") == promoted.id
    # Writes use the present layout.
    documents = await database.by_id()
    assert (documents["a"]["is_primary"], documents["a"]["schema_version"]) == (False, SCHEMA_VERSION)
    assert documents["b"]["schema_version"] == 1


async def test_a_primary_that_an_old_replica_writes_later_is_found(database: Database) -> None:
    # The document appears after the service has found none of layout 1.
    for _ in range(2):
        assert await database.api.primary_id("c1") is None
    await database.collection.insert_one(layout_1("a", "c1"))

    assert await database.api.primary_id("c1") == "a"


async def test_a_primary_key_left_by_an_old_replica_makes_no_primary(database: Database) -> None:
    await database.collection.insert_one(layout_1("a", "c1", is_primary=False, primary_key="email:c1"))

    assert await database.api.primary_id("c1") is None


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_migration_keeps_etags_and_times_and_is_repeatable(database: Database) -> None:
    planted = [layout_1("a", "c1"), layout_1("b", "c2", is_primary=False), idempotency_document_1("m")]
    await database.collection.insert_many(planted)

    counts = [await database.migrate(), await database.migrate()]

    assert counts == [3, 0]
    after = await database.by_id()
    assert after == {document["_id"]: migrated(document) for document in planted} | {
        "m": {**after["m"], "schema_version": SCHEMA_VERSION}
    }


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_migration_skips_a_document_written_since_it_was_read(database: Database) -> None:
    before = layout_1("a", "c1")
    guard, update = update_of(before)
    # Demoted by a replica of an earlier release.
    theirs = layout_1("a", "c1", is_primary=False, etag="theirs")
    await database.collection.insert_one(theirs)

    result = await database.collection.update_one(guard, update)

    assert result.matched_count == 0
    assert (await database.by_id())["a"] == theirs


class OvertakenCollection:
    """A collection that is migrated after each search by primary_key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.full_name = database.collection.full_name
        self.database = database.collection.database

    def find(self, query: Document, *arguments: Any, **options: Any) -> Any:
        cursor = self._database.collection.find(query, *arguments, **options)
        return OvertakenCursor(cursor, self._database) if "primary_key" in query else cursor


class OvertakenCursor:
    """A cursor whose collection is migrated after it is read."""

    def __init__(self, cursor: Any, database: Database) -> None:
        self._cursor = cursor
        self._database = database

    def skip(self, count: int) -> OvertakenCursor:
        return OvertakenCursor(self._cursor.skip(count), self._database)

    def limit(self, count: int) -> OvertakenCursor:
        return OvertakenCursor(self._cursor.limit(count), self._database)

    async def to_list(self, length: int | None) -> Any:
        found = await self._cursor.to_list(length=length)
        await self._database.migrate()
        return found


async def test_a_primary_that_is_migrated_between_the_two_queries_is_found(database: Database) -> None:
    await database.collection.insert_one(layout_1("a", "c1"))
    collection: Any = OvertakenCollection(database)

    found = await MongoStore(collection, None, KeyLocks()).find_primary(("c1", ContactMethodType.EMAIL))

    assert found is not None
    assert found.id == "a"


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_document_with_faults_is_not_migrated(database: Database) -> None:
    broken = layout_1("a", "c1")
    del broken["etag"]
    await database.collection.insert_many([broken, layout_1("b", "c2")])

    assert await database.migrate() == 1

    assert (await database.by_id())["a"] == broken


async def test_a_service_finds_every_primary_and_keeps_every_write_during_a_migration(database: Database) -> None:
    clients = [f"c{i}" for i in range(300)]
    await database.collection.insert_many([layout_1(f"of_{client}", client) for client in clients])
    done = asyncio.Event()
    written: dict[str, str] = {}

    async def look() -> int:
        count = 0
        while not done.is_set():
            client = clients[count * 7 % len(clients)]
            assert await database.api.primary_id(client) is not None
            count += 1
        return count

    async def write() -> None:
        for client in clients[::9]:
            request = pb.UpdateContactMethodRequest(id=f"of_{client}", label="written meanwhile")
            await database.api.stub.UpdateContactMethod(request)
            written[f"of_{client}"] = "written meanwhile"
            written[(await database.api.create(client, is_primary=True)).id] = ""

    lookers = [asyncio.create_task(look()) for _ in range(4)]
    writer = asyncio.create_task(write())
    try:
        await database.migrate()
        await writer
    finally:
        done.set()
    looks = await asyncio.gather(*lookers)

    assert min(looks) > 0
    documents = await database.by_id()
    assert {document["schema_version"] for document in documents.values()} == {SCHEMA_VERSION}
    assert all(documents[id_].get("label", "") == label for id_, label in written.items())
    assert [await database.api.primary_id(client) for client in clients[::9]] == [
        id_ for id_, label in written.items() if not label
    ]


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_killed_migration_is_completed_by_the_next_one(database: Database, embedded_uri: str) -> None:
    planted = [layout_1(f"r{i:05}", f"c{i}") for i in range(600)]
    await database.collection.insert_many(planted)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    arguments = ("-m", "contactsvc", "doctor", "--fix", "--yes", "--mongodb-uri", embedded_uri)

    async def doctor() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            *("--database", database.name),
            stdout=asyncio.subprocess.PIPE,
            env=clean,
        )

    process = await doctor()
    async with asyncio.timeout(60):
        # The other process cannot set an event here.
        while await database.collection.find_one({"_id": "r00000", "schema_version": 1}):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    out, _ = await (await doctor()).communicate()

    found = re.search(rf"(\d+) documents of a layout before {SCHEMA_VERSION}", out.decode())
    assert found is not None
    assert 0 < int(found[1]) < len(planted)
    assert await database.by_id() == {document["_id"]: migrated(document) for document in planted}


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_document_of_an_unknown_type_does_not_stop_a_migration(database: Database) -> None:
    unknown = layout_1("a", "c1", type="pigeon")
    await database.collection.insert_many([unknown, layout_1("b", "c2")])

    moved = await database.migrate()

    assert moved == 1
    assert (await database.by_id())["a"] == unknown


async def test_a_document_of_a_newer_release_is_neither_read_nor_written(database: Database) -> None:
    newer = layout_1("a", "c1", primary_key="email:c1", schema_version=SCHEMA_VERSION + 1)
    await database.collection.insert_one(newer)
    other = await database.api.create("c2")

    failures = [
        await failure_of(database.api.get("a")),
        await failure_of(database.api.primary_id("c1")),
        await failure_of(database.api.create("c1", is_primary=True)),
        await failure_of(database.api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id="a", label="x"))),
        await failure_of(
            database.api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="c1"))
        ),
    ]
    moved = await database.migrate()

    assert {failure.code for failure in failures} == {grpc.StatusCode.INTERNAL}
    assert moved == 0
    assert (await database.by_id())["a"] == newer
    # Other records are served.
    assert (await database.api.get(other.id)).id == other.id


@pytest.mark.parametrize("database", [True], indirect=True)
async def test_a_release_rolled_back_too_far_does_not_start(database: Database) -> None:
    await database.collection.insert_one(layout_1("a", "c1", schema_version=SCHEMA_VERSION + 1))

    with pytest.raises(StartupError, match=f"the document a has layout {SCHEMA_VERSION + 1}"):
        await database.deployment.open_store(f"{database.name}_live")
