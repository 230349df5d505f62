"""Writes of the embedded database find their document by its id, and check the whole filter."""

from __future__ import annotations

import uuid

from contactsvc.store import Deployment

COUNT = 50


async def test_a_guarded_write_of_the_embedded_database_changes_no_other_document(deployment: Deployment) -> None:
    collection = deployment.driver.database(f"test_{uuid.uuid4().hex[:12]}")["some"]
    await collection.create_index([("etag", 1)])
    await collection.insert_many([{"_id": f"{number}", "etag": "same", "n": 0} for number in range(COUNT)])

    missed = await collection.update_one({"_id": "1", "etag": "other"}, {"$set": {"n": 1}})
    found = await collection.update_one({"_id": "2", "etag": "same"}, {"$set": {"n": 2}})
    replaced = await collection.replace_one({"_id": "3", "etag": "same", "n": 0}, {"etag": "new"})
    deleted = await collection.delete_one({"_id": "4", "etag": "other"})
    many = await collection.update_many({"_id": {"$in": ["5", "6"]}, "etag": "same"}, {"$set": {"n": 5}})

    assert (missed.matched_count, found.matched_count, replaced.matched_count, many.matched_count) == (0, 1, 1, 2)
    assert deleted.deleted_count == 0
    assert await collection.count_documents({"n": 0}) == COUNT - 4
