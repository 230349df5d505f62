from __future__ import annotations

import pytest
from pymongo.errors import BulkWriteError

from contactsvc.store import COLLECTION, Deployment
from tests.integration.transfer_world import World


async def test_statements_of_the_embedded_database_see_the_indexes_of_their_moment(deployment: Deployment) -> None:
    collection = deployment.driver.database(World.new_name())[COLLECTION]
    await collection.insert_many([{"_id": i, "a": i} for i in range(3)])
    await collection.create_index("a", name="a", unique=True)

    with pytest.raises(BulkWriteError) as raised:
        await collection.insert_many([{"_id": 10, "a": 10}, {"_id": 11, "a": 10}, {"_id": 12, "a": 1}], ordered=False)
    await collection.drop_index("a")
    await collection.insert_one({"_id": 13, "a": 10})

    assert [error["index"] for error in raised.value.details["writeErrors"]] == [1, 2]
    assert sorted([one["_id"] async for one in collection.find({"a": 10})]) == [10, 13]
