"""Slices of long reads by queries, for MongoDB, which reads no further than it has to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymongo.errors import ExecutionTimeout

from contactsvc import deadlines
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.index_walk import IndexWalk, Position, walk_of
from contactsvc.store.paging import Paging
from contactsvc.store.queries import continuations
from contactsvc.store.reading import time_limit
from contactsvc.store.sizes import BATCH_SIZE
from contactsvc.store.slices import Slice

_ENTRIES = 2_000
_MIN_ENTRIES = 10
# A slice that takes longer is read again with half the entries.
_TIMEOUT_MS = 1_000


class MongoSlices:
    """Slices of listings that no index narrows; others are read by a query.

    The end of a slice is found by a query that the index alone answers.

    Args:
        collection: contact methods.
        entries: index entries per slice.
    """

    def __init__(self, collection: Collection, entries: int = _ENTRIES) -> None:
        self._collection = collection
        self._entries = entries

    def walk_of(self, paging: Paging) -> IndexWalk | None:
        """Return the walk for a listing; None when the listing is better read by a query."""
        if paging.listing.filter.metadata or len(paging.keys) > 2:
            return None
        return walk_of(paging, client_indexes=False)

    async def read(self, walk: IndexWalk, after: Position | None, wanted: int | None, *, paced: bool) -> Slice:
        """Read the slice after a position. MongoDB needs no pace."""
        limit = BATCH_SIZE if wanted is None else min(BATCH_SIZE, wanted)
        entries = self._entries
        while True:
            try:
                return await self._read(walk, after, limit, entries)
            except ExecutionTimeout:
                # The deadline of the call, or that of the slice.
                deadlines.remaining_ms()
                if entries <= _MIN_ENTRIES:
                    raise
                entries //= 2

    async def read_below(self, walk: IndexWalk, after: Position | None, *, paced: bool) -> Slice:
        """Read what lies below the range of a walk, which is little."""
        if walk.below is None:
            return Slice([], 0, None)
        # By two ranges of the index; comparisons with MinKey would leave out other types.
        query = {walk.field: {"$not": {"$gte": walk.at_or_after}}, **walk.below.rest}
        cursor = self._collection.find(query, **time_limit(_TIMEOUT_MS)).sort(walk.order).limit(BATCH_SIZE)
        documents = await cursor.to_list(length=None)
        return Slice(documents, len(documents), None)

    async def count(self, walk: IndexWalk, after: Position | None) -> Slice:
        """Count all documents of a walk."""
        milliseconds = deadlines.remaining_ms()
        limit: dict[str, Any] = {} if milliseconds is None else {"maxTimeMS": milliseconds}
        return Slice([], await self._collection.count_documents({**walk.query, **walk.rest}, **limit), None)

    async def skip(self, walk: IndexWalk, after: Position | None, entries: int) -> Slice:
        """Count documents of a walk without further conditions, up to a number."""
        end = await self._end(walk.query, walk, entries)
        return Slice([], 0 if end is None else entries, end)

    async def _read(self, walk: IndexWalk, after: Position | None, limit: int, entries: int) -> Slice:
        found: list[Document] = []
        for part in _parts(walk, after):
            # Without further conditions the query ends with its limit.
            end = await self._end(part, walk, entries) if walk.rest else None
            query = {**(part if end is None else _up_to(part, walk, end)), **walk.rest}
            cursor = self._collection.find(query, **time_limit(_TIMEOUT_MS)).sort(walk.order).limit(limit - len(found))
            documents = await cursor.to_list(length=None)
            found += documents if end is None else [one for one in documents if not _is_beyond(one, walk, end)]
            if len(found) == limit:
                return Slice(found, limit, walk.position_of(found[-1]))
            if end is not None:
                return Slice(found, len(found), end)
        return Slice(found, len(found), None)

    async def _end(self, query: Document, walk: IndexWalk, entries: int) -> Position | None:
        """Return the position of the last of so many entries; None if there are fewer."""
        cursor = self._collection.find(query, {walk.field: 1, "_id": 1}, **time_limit(_TIMEOUT_MS))
        found = await cursor.sort(walk.order).skip(entries - 1).limit(1).to_list(length=1)
        return walk.position_of(found[0]) if found else None


def _parts(walk: IndexWalk, after: Position | None) -> Iterable[Document]:
    """Return queries whose concatenated results are what follows a position: the rest of its time, and later times."""
    return [walk.query] if after is None else continuations(walk.query, walk.order, after)


def _up_to(part: Document, walk: IndexWalk, end: Position) -> Document:
    """Return a part of a walk up to the time of a position, and up to the position if the part has just this time."""
    bound = "$gte" if walk.reverse else "$lte"
    bounds = part[walk.field]
    if isinstance(bounds, dict):
        return {**part, walk.field: {**bounds, bound: end[0]}}
    return {**part, "_id": {**part["_id"], bound: end[1]}}


def _is_beyond(document: Document, walk: IndexWalk, end: Position) -> bool:
    position = walk.position_of(document)
    return position < end if walk.reverse else position > end
