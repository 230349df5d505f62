from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from contactsvc import store
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.listing import Filter, Listing
from contactsvc.errors import StartupError
from contactsvc.store import COLLECTION, MongoStore
from contactsvc.store.queries import NEWER_LAYOUTS
from contactsvc.store.transactions import KeyLocks
from tests.conftest import DRIVER

SLOT = ("client_1", ContactMethodType.EMAIL)


class RecordingCollection:
    """A collection that records its cursors."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self.full_name = collection.full_name
        self.database = collection.database
        self.cursors: list[Any] = []

    def find(self, *args: Any, **kwargs: Any) -> Any:
        cursor = self._collection.find(*args, **kwargs)
        self.cursors.append(cursor)
        return cursor

    async def find_one(self, query: Any, **kwargs: Any) -> Any:
        self.cursors.append(self._collection.find(query))
        return await self._collection.find_one(query, **kwargs)


def stages(plan: Any) -> set[str]:
    found = set()
    while plan:
        found.add(plan["stage"])
        plan = plan.get("inputStage")
    return found


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda s: s.find("contact_x"), id="id"),
        pytest.param(lambda s: s.find_by_external_id("x"), id="external id"),
        pytest.param(lambda s: s.find_by_external_ids(["x", "y"]), id="external ids"),
        pytest.param(lambda s: s.find_by_metadata("k", "v", None, limit=2), id="metadata pair"),
        pytest.param(lambda s: s.find_by_metadata("k", "v", "c", limit=2), id="metadata pair of a client"),
        pytest.param(lambda s: s.find_primary(SLOT), id="primary"),
        pytest.param(lambda s: s.find_by_ids(["x", "y"]), id="ids"),
        pytest.param(lambda s: s.find_primaries([SLOT, ("client_2", SLOT[1])]), id="primaries"),
        pytest.param(lambda s: s.find_of_client("c"), id="records of a client"),
        pytest.param(lambda s: s.find_idempotency_record("r"), id="request"),
        pytest.param(lambda s: s.find_in_slot(SLOT), id="slot"),
        pytest.param(lambda s: s.find_page(Listing(filter=Filter(client_ids=("c",)), page_size=5)), id="client"),
        pytest.param(
            lambda s: s.find_page(Listing(filter=Filter(client_ids=("c",), types=(SLOT[1],)), page_size=5)),
            id="client and type",
        ),
        pytest.param(
            lambda s: s.find_page(Listing(filter=Filter(values=((SLOT[1], "a@b.c"),)), page_size=5)),
            id="normalized value",
        ),
        pytest.param(lambda s: s.find_page(Listing(filter=Filter(), page_size=5)), id="everything"),
    ],
)
async def test_lookups_use_an_index(embedded_uri: str, ask: Any) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        await deployment.open_store(name)
        collection: Any = RecordingCollection(deployment.driver.database(name)[COLLECTION])

        asked = MongoStore(collection, deployment.driver, KeyLocks())
        # The store checks once whether there are documents of earlier layouts.
        await asked.find_primary(SLOT)
        collection.cursors.clear()

        await ask(asked)

        assert collection.cursors
        for cursor in collection.cursors:
            plan = (await cursor.clone().explain())["queryPlanner"]["winningPlan"]
            assert "IXSCAN" in stages(plan)
            assert "COLLSCAN" not in stages(plan)
    finally:
        await deployment.close()


async def test_a_start_uses_indexes_without_entries_for_contact_methods(embedded_uri: str) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        await deployment.open_store(name)
        collection: Any = deployment.driver.database(name)[COLLECTION]
        used = {}
        for what, query in (("newer", NEWER_LAYOUTS), ("due", {"forget_at": {"$lt": datetime.now(UTC)}})):
            plan = (await collection.find(query).explain())["queryPlanner"]["winningPlan"]
            used[what] = (await collection.index_information())[plan["inputStage"]["indexName"]]
    finally:
        await deployment.close()

    assert dict(used["newer"]["partialFilterExpression"]) == NEWER_LAYOUTS
    assert used["due"]["sparse"] is True


async def test_an_index_of_an_earlier_release_that_enforces_no_rule_is_recreated(embedded_uri: str) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        collection = deployment.driver.database(name)[COLLECTION]
        await collection.create_index([("forget_at", 1)], name="forget_at", expireAfterSeconds=0)

        await deployment.open_store(name)

        assert (await collection.index_information())["forget_at"]["sparse"] is True
    finally:
        await deployment.close()


async def test_a_start_on_data_with_double_primaries_names_the_clients(embedded_uri: str) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        documents = [
            {"_id": f"r{i}", "client_id": client, "type": "email", "is_primary": True}
            for i, client in enumerate(["good", "bad_1", "bad_1", "bad_2", "bad_2"])
        ]
        await deployment.driver.database(name)[COLLECTION].insert_many(documents)

        with pytest.raises(StartupError) as raised:
            await deployment.open_store(name)
    finally:
        await deployment.close()

    assert "client bad_1 (email: r1, r2)" in str(raised.value)
    assert "bad_2" in str(raised.value)
    assert "good" not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param(
            {"external_id": "private"}, "these contact methods share an external id: r1, r2, r3", id="external id"
        ),
        pytest.param(
            {"request_ids": ["private"]},
            "several documents have an idempotency record of the same request; `contactsvc doctor` names them",
            id="request",
        ),
    ],
)
async def test_a_start_on_data_with_a_duplicate_names_the_records(
    embedded_uri: str, fields: dict[str, Any], problem: str
) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        documents = [{"_id": f"r{i}", "client_id": "c", "is_primary": False, **fields} for i in range(1, 4)]
        await deployment.driver.database(name)[COLLECTION].insert_many(documents)

        with pytest.raises(StartupError) as raised:
            await deployment.open_store(name)
    finally:
        await deployment.close()

    assert str(raised.value).endswith(problem)
    assert "private" not in str(raised.value)


async def test_a_start_names_at_most_twenty_violations(embedded_uri: str) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        documents = [
            {"_id": f"r{i}", "client_id": f"c{i % 23}", "type": "email", "is_primary": True} for i in range(46)
        ]
        await deployment.driver.database(name)[COLLECTION].insert_many(documents)

        with pytest.raises(StartupError, match=r"and 3 more$") as raised:
            await deployment.open_store(name)
    finally:
        await deployment.close()

    assert str(raised.value).count("client c") == 20


@pytest.mark.parametrize("options", [{}, {"unique": True}])
async def test_a_start_with_a_different_index_of_the_same_name_is_refused(
    embedded_uri: str, options: dict[str, Any]
) -> None:
    deployment = await store.connect(embedded_uri, DRIVER)
    try:
        name = f"test_{uuid.uuid4().hex[:12]}"
        collection = deployment.driver.database(name)[COLLECTION]
        await collection.create_index([("client_id", 1), ("type", 1)], name="primary_slot", **options)

        with pytest.raises(StartupError, match="primary_slot"):
            await deployment.open_store(name)
    finally:
        await deployment.close()
