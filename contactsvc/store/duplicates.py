"""Searches for documents that share a value which only one of them may have: what unique indexes rule out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ASCENDING

from contactsvc.store.drivers import Collection, Document

MAX_GROUP_IDS: Final = 20
"""The maximum number of ids kept of one group, which bounds its memory."""

_BATCH_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Documents that share a value which only one of them may have.

    Attributes:
        client_id: the client of a primary slot; empty for other values.
        type: the type of a primary slot, as stored; empty for other values.
        ids: the ids of the first documents, at most `MAX_GROUP_IDS`.
        size: the number of documents.
    """

    client_id: str
    type: str
    ids: tuple[str, ...]
    size: int


async def double_primaries(collection: Collection) -> AsyncGenerator[DuplicateGroup]:
    """Yield the primary slots that more than one document occupies."""
    async for slot, ids, size in _groups(collection, {"is_primary": True}, "client_id", "type"):
        client_id, type_ = slot
        yield DuplicateGroup(str(client_id), str(type_), ids, size)


async def shared_external_ids(collection: Collection) -> AsyncGenerator[DuplicateGroup]:
    """Yield the groups of documents with the same external id, but not that id: it may contain anything."""
    async for _, ids, size in _groups(collection, {"external_id": {"$exists": True}}, "external_id"):
        yield DuplicateGroup("", "", ids, size)


async def shared_requests(collection: Collection) -> AsyncGenerator[DuplicateGroup]:
    """Yield the groups of documents with an idempotency record of the same request."""
    stages: list[Document] = [
        {"$match": {"request_ids": {"$exists": True}}},
        {"$project": {"request_ids": 1}},
        {"$unwind": "$request_ids"},
        {"$group": {"_id": "$request_ids", "ids": {"$push": "$_id"}, "size": {"$sum": 1}}},
        {"$match": {"size": {"$gt": 1}}},
    ]
    # PyMongo returns an awaitable, Motor the cursor.
    cursor: Any = collection.aggregate(stages, allowDiskUse=True, batchSize=_BATCH_SIZE)
    if inspect.isawaitable(cursor):
        cursor = await cursor
    async for found in cursor:
        yield DuplicateGroup("", "", tuple(map(str, found["ids"][:MAX_GROUP_IDS])), found["size"])


async def _groups(
    collection: Collection, query: Document, *fields: str
) -> AsyncGenerator[tuple[tuple[Any, ...], tuple[str, ...], int]]:
    """Yield the groups of several documents with equal fields: the fields, the first ids, and the size."""
    cursor = collection.find(query, dict.fromkeys(fields, 1)).sort([(name, ASCENDING) for name in fields])
    documents: AsyncIterable[Document] = cursor.allow_disk_use(True).batch_size(_BATCH_SIZE)
    shared: tuple[Any, ...] | None = None
    ids: list[str] = []
    size = 0
    async for document in documents:
        values = tuple(document.get(name) for name in fields)
        if values != shared:
            if shared is not None and size > 1:
                yield shared, tuple(ids), size
            shared, ids, size = values, [], 0
        size += 1
        if size <= MAX_GROUP_IDS:
            ids.append(str(document["_id"]))
    if shared is not None and size > 1:
        yield shared, tuple(ids), size
