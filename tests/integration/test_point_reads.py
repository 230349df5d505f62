"""Point reads over the wire: order, deadlines, and what PyMongo's cursor would have done."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from contactsvc import deadlines
from contactsvc.errors import DeadlineExceeded, StoreUnavailable
from contactsvc.store import Deployment
from contactsvc.store.point_reads import PointReads

COLLECTION = "some"
COUNT = 5


class Faulty:
    """A database whose commands fail with the given errors first."""

    def __init__(self, database: Any, *errors: PyMongoError) -> None:
        self._database = database
        self._errors = list(errors)
        self.commands: list[str] = []

    async def command(self, command: dict[str, Any], **options: Any) -> Any:
        self.commands.append(next(iter(command)))
        if self._errors:
            raise self._errors.pop(0)
        return await self._database.command(command, **options)


class SmallBatches(Faulty):
    """A database whose answers have room for two documents only."""

    async def command(self, command: dict[str, Any], **options: Any) -> Any:
        return await super().command({**command, "batchSize": 2} if "find" in command else command, **options)

    def __getitem__(self, name: str) -> Any:
        return self._database[name]


@pytest.fixture
async def database(deployment: Deployment) -> Any:
    """Make a database with a few documents."""
    database = deployment.driver.reads(f"test_{uuid.uuid4().hex[:12]}")
    await database[COLLECTION].insert_many([{"_id": f"{number}", "n": -number} for number in range(COUNT)])
    return database


async def test_documents_are_found_in_the_order_asked_for(database: Any) -> None:
    reads = PointReads(database, COLLECTION)

    assert await reads.find({"_id": "3"}, 1) == [{"_id": "3", "n": -3}]
    assert await reads.find({"_id": "none"}, 1) == []
    found = await reads.find({"_id": {"$in": ["1", "2", "4"]}}, 2, sort=[("n", 1)])
    assert [document["_id"] for document in found] == ["4", "2"]


@pytest.mark.parametrize("error", [AutoReconnect("lost"), NotPrimaryError("moved", {"code": 10107})], ids=repr)
async def test_a_read_is_repeated_once(database: Any, error: PyMongoError) -> None:
    once, twice = Faulty(database, error), Faulty(database, error, error)

    assert len(await PointReads(once, COLLECTION).find({"_id": "1"}, 1)) == 1  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await PointReads(twice, COLLECTION).find({"_id": "1"}, 1)  # type: ignore[arg-type]

    assert once.commands == twice.commands == ["find", "find"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerSelectionTimeoutError("no server"), StoreUnavailable),
        (WaitQueueTimeoutError("no connection"), StoreUnavailable),
        (OperationFailure("not allowed", 13), OperationFailure),
    ],
    ids=repr,
)
async def test_a_read_that_has_waited_or_was_refused_is_not_repeated(
    database: Any, error: PyMongoError, expected: type[Exception]
) -> None:
    faulty = Faulty(database, error)

    with pytest.raises(expected):
        await PointReads(faulty, COLLECTION).find({"_id": "1"}, 1)  # type: ignore[arg-type]

    assert faulty.commands == ["find"]


async def test_a_read_is_not_repeated_after_its_deadline(database: Any) -> None:
    class Late(Faulty):
        async def command(self, command: dict[str, Any], **options: Any) -> Any:
            deadlines.begin_until(asyncio.get_running_loop().time() - 1)
            return await super().command(command, **options)

    late = Late(database, AutoReconnect("lost"))
    with pytest.raises(DeadlineExceeded):
        await PointReads(late, COLLECTION).find({"_id": "1"}, 1)  # type: ignore[arg-type]

    assert late.commands == ["find"]


async def test_documents_beyond_the_size_of_an_answer_are_read_by_a_cursor(database: Any) -> None:
    small = SmallBatches(database)

    found = await PointReads(small, COLLECTION).find({}, COUNT, sort=[("n", -1)])  # type: ignore[arg-type]

    assert [document["_id"] for document in found] == ["0", "1", "2", "3", "4"]
    assert small.commands == ["find", "killCursors"]
