"""Reading of listings in slices: pages, streams and counts, without a cursor that stays open.

A listing is read along an index where that is possible, a slice at a time (slices.py), and otherwise by a query. Reads
that may take long share a few slots, and each slice needs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

from contactsvc import deadlines, memory
from contactsvc.domain.listing import Listing, Page
from contactsvc.store import queries
from contactsvc.store.driver_errors import translated
from contactsvc.store.drivers import Collection, Document
from contactsvc.store.index_walk import IndexWalk, Position, pair_prefixes
from contactsvc.store.paging import Paging
from contactsvc.store.reading import time_limit
from contactsvc.store.scan_slots import ScanSlots
from contactsvc.store.sizes import BATCH_SIZE, MAX_DOCUMENT_BYTES, size_of
from contactsvc.store.slices import SLICE_MEMORY, EmbeddedSlices, IndexMissing, Slice, SliceSource

# Records of one query that a stream reads at most, before it goes on with another one.
_MAX_QUERIED = 1_000
_MAX_QUERIED_BYTES = 1024 * 1024
# A metadata pair of more records is too frequent to be read by its index, which does not have the order of a listing.
_MAX_RECORDS_OF_PAIR = 500
_MAX_PAIRS = 3
_MAX_QUERY_MS = 30_000


class ListingReader:
    """Reads the listings of one collection.

    Args:
        collection: the contact methods.
        scans: the same collection by the connections of long reads; None for the same connections.
        slices: reads slices; None where the database cannot be read in slices.
        slots: of long reads.
        counts_by_index: whether the database counts by an index.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        scans: Collection | None = None,
        slices: SliceSource | None = None,
        slots: ScanSlots | None = None,
        counts_by_index: bool = True,
    ) -> None:
        self._collection = collection
        self._scans = collection if scans is None else scans
        self._slices = slices
        self._slots = slots or ScanSlots(1)
        self._counts_by_index = counts_by_index

    async def page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        paging = await self._paging(listing)
        # One record more than requested shows whether there is a next page.
        wanted = listing.page_size + 1
        found: list[Document] = []
        async with aclosing(self._batches(paging, wanted)) as batches:
            async for batch in batches:
                found += batch.documents
                if len(found) >= wanted or len(found) > paging.fitting(found):
                    break
        total_size = await self._count(paging) if listing.include_total_size else None
        count = paging.fitting(found)
        return await paging.page(found[:count], more=len(found) > count, total_size=total_size)

    async def pages(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield all pages on demand, at most two in memory at a time; errors as in `page`."""
        paging = await self._paging(listing)
        held: list[Document] = []
        counted = 0
        async with aclosing(_ahead(self._batches(paging, None))) as batches:
            async for batch in batches:
                held += batch.documents
                counted += batch.memory
                # A page is complete once there is a document after it; until then it may be the last one.
                while len(held) > (count := paging.fitting(held)):
                    yield await paging.page(held[:count], more=True)
                    # Its share: to measure its documents once more would cost a tenth of a stream.
                    share = counted * count // len(held)
                    memory.free(share)
                    counted -= share
                    held = held[count:]
        while held:
            count = paging.fitting(held)
            yield await paging.page(held[:count], more=len(held) > count)
            held = held[count:]

    async def first_of_each(self, index: str, prefixes: Sequence[Sequence[str]], limit: int) -> list[Document] | None:
        """Return the first documents of each of several ranges of an index; None if the database is better queried.

        Args:
            index: the name of the index.
            prefixes: the values of its first fields, for each range.
            limit: how many documents of a range to return.
        """
        if not isinstance(self._slices, EmbeddedSlices):
            return None
        try:
            with translated():
                return await self._slots.run_at_once(partial(self._slices.read_first, index, prefixes, limit))
        except IndexMissing:
            return None

    async def _paging(self, listing: Listing) -> Paging:
        asked = listing.filter
        # Values without a normal form are rare, and an index shows whether any is asked for.
        unparsed = asked.values is None
        if not unparsed:
            with translated():
                cursor = self._collection.find(queries.unparsed_values(asked), {"_id": 1}, **time_limit()).limit(1)
                unparsed = bool(await cursor.to_list(length=1))
        return Paging(listing, self._collection.full_name, unparsed=unparsed)

    async def _batches(self, paging: Paging, wanted: int | None) -> AsyncGenerator[_Batch]:
        """Yield the documents of a listing in its order. They count as memory of the call, twice, for their records.

        Args:
            paging: the listing.
            wanted: how many are of use; None for all.
        """
        begun = False
        try:
            if (found := await self._of_rare_pair(paging)) is not None:
                yield _Batch.of(paging.sorted(found)[paging.listing.offset :])
                return
            if self._slices is not None and (walk := self._slices.walk_of(paging)) is not None:
                streamed = self._everything_walked if wanted is None else self._walked
                async with aclosing(streamed(self._slices, walk, paging, wanted)) as batches:
                    async for batch in batches:
                        begun = True
                        yield batch
                return
        except IndexMissing:
            # This shows at the first slice, unless somebody drops the index meanwhile.
            if begun:
                raise
        async with aclosing(self._queried(paging, wanted)) as batches:
            async for batch in batches:
                yield batch

    async def _everything_walked(
        self, slices: SliceSource, walk: IndexWalk, paging: Paging, wanted: int | None
    ) -> AsyncGenerator[_Batch]:
        """Yield what `_walked` yields, and what lies below: a stream must not leave malformed documents out."""
        walked = self._walked(slices, walk, paging, wanted)
        below = self._below(slices, walk, at_once=not paging.listing.is_scan)
        parts = [walked, below] if walk.reverse else [below, walked]
        for part in parts if walk.reverse or paging.position is None else [walked]:
            async with aclosing(part) as batches:
                async for batch in batches:
                    yield batch

    async def _below(self, slices: SliceSource, walk: IndexWalk, *, at_once: bool) -> AsyncGenerator[_Batch]:
        after: Position | None = None
        while True:
            read = partial(slices.read_below, walk, after, paced=not at_once)
            found, counted = await self._sliced(read, at_once=at_once, expected=SLICE_MEMORY)
            if found.documents:
                yield _Batch(found.documents, counted)
            after = found.reached
            if after is None:
                return

    async def _walked(
        self, slices: SliceSource, walk: IndexWalk, paging: Paging, wanted: int | None
    ) -> AsyncGenerator[_Batch]:
        """Yield the documents of a listing in batches, by a walk along an index."""
        after: Position | None = None
        offset, position = paging.listing.offset, paging.position
        by_second_key = len(paging.keys) > 2
        if position is not None and by_second_key:
            walk = walk.at_or_beyond(position[0])
        elif position is not None:
            after = position[0], position[1]
        while offset and not walk.rest and not by_second_key:
            skipped, _ = await self._sliced(partial(slices.skip, walk, after, offset))
            if skipped.reached is None:
                return
            offset, after = offset - skipped.count, skipped.reached
        # Documents of one time of which there may be more.
        held: list[Document] = []
        at_once = not paging.listing.is_scan
        while True:
            left = None if wanted is None or walk.rest or by_second_key else wanted
            expected = SLICE_MEMORY if left is None else min(SLICE_MEMORY, left * MAX_DOCUMENT_BYTES)
            read = partial(slices.read, walk, after, left, paced=not at_once)
            found, counted = await self._sliced(read, at_once=at_once, expected=expected)
            batch = _Batch(found.documents, counted)
            if by_second_key:
                held += found.documents
                complete = [one for one in held if found.reached is None or one[walk.field] != found.reached[0]]
                held, batch = held[len(complete) :], _Batch.of(paging.sorted(complete))
            if offset:
                skipped_documents, rest = batch.documents[:offset], batch.documents[offset:]
                offset, batch = offset - len(skipped_documents), _Batch.of(rest)
                memory.free(2 * size_of(skipped_documents))
            if batch.documents:
                yield batch
            if found.reached is None:
                return
            if wanted is not None:
                wanted -= len(batch.documents)
            # The first slice of what few records have is a short read, and the others make a long one.
            after, at_once = found.reached, False

    async def _of_rare_pair(self, paging: Paging) -> list[Document] | None:
        """Return the documents with a metadata pair of the filter that few documents have; None if there is no such."""
        if isinstance(self._slices, EmbeddedSlices):
            at_once = not paging.listing.is_scan
            for prefix in pair_prefixes(paging)[:_MAX_PAIRS]:
                read = partial(self._slices.read_pair, prefix, paging.query, _MAX_RECORDS_OF_PAIR, paced=not at_once)
                found, _ = await self._sliced(read, at_once=at_once, expected=SLICE_MEMORY)
                if found.reached is None:
                    return found.documents
        return None

    async def _sliced(
        self, read: Callable[[], Coroutine[Any, Any, Slice]], *, at_once: bool = False, expected: int = 0
    ) -> tuple[Slice, int]:
        """Read a slice, whose documents count as memory of the call, twice; return it and what is counted.

        Args:
            read: reads it.
            at_once: whether to read it without a slot.
            expected: the memory that its documents may need.
        """
        # Raises once the deadline has passed.
        deadlines.remaining_ms()
        # Before there is a slot: nobody holds one while waiting for memory.
        await memory.hold(expected)
        needed = 0
        try:
            with translated():
                found = await (self._slots.run_at_once(read) if at_once else self._slots.run(read))
            needed = 2 * size_of(found.documents)
        finally:
            memory.free(expected - needed)
        return found, needed

    async def _queried(self, paging: Paging, wanted: int | None) -> AsyncGenerator[_Batch]:
        """Yield the documents of a listing in batches, by queries that each read the next ones."""
        skip, position = paging.listing.offset, paging.position
        while True:
            limit = _MAX_QUERIED if wanted is None else wanted
            read = partial(self._query, paging, position, skip, limit)
            expected = min(limit, BATCH_SIZE) * MAX_DOCUMENT_BYTES
            found, counted = await self._sliced(read, at_once=not paging.listing.is_scan, expected=expected)
            documents = found.documents
            if documents:
                yield _Batch(documents, counted)
            if len(documents) < limit and size_of(documents) <= _MAX_QUERIED_BYTES:
                return
            if wanted is not None:
                wanted -= len(documents)
                if wanted <= 0:
                    return
            skip, position = 0, paging.position_of(documents[-1])

    async def _query(self, paging: Paging, position: Sequence[Any] | None, skip: int, limit: int) -> Slice:
        """Read the documents after a position, up to a number or a size."""
        found: list[Document] = []
        collection = self._scans if paging.listing.is_scan else self._collection
        for part in paging.parts(position):
            cursor = collection.find(part, **time_limit(_MAX_QUERY_MS)).sort(paging.keys)
            cursor = cursor.skip(skip).limit(limit - len(found)).batch_size(BATCH_SIZE)
            try:
                while len(found) < limit and (batch := await cursor.to_list(length=BATCH_SIZE)):
                    found += batch
                    if size_of(found) > _MAX_QUERIED_BYTES:
                        return Slice(found, len(found), None)
            finally:
                await cursor.close()
            if len(found) == limit:
                break
        return Slice(found, len(found), None)

    async def _count(self, paging: Paging) -> int:
        """Return the number of documents of a listing, whatever its token and offset."""
        try:
            if (found := await self._of_rare_pair(paging)) is not None:
                memory.free(2 * size_of(found))
                return len(found)
            if self._slices is not None and (walk := self._slices.walk_of(paging)) is not None:
                count, after = 0, None
                while True:
                    part, _ = await self._sliced(partial(self._slices.count, walk, after))
                    count, after = count + part.count, part.reached
                    if after is None:
                        return count
        except IndexMissing:
            # As in `_batches`.
            pass
        counted, _ = await self._sliced(partial(self._count_by_query, paging.query))
        return counted.count

    async def _count_by_query(self, query: Document) -> Slice:
        if self._counts_by_index:
            limit = {"maxTimeMS": time_limit(_MAX_QUERY_MS)["max_time_ms"]}
            return Slice([], await self._scans.count_documents(query, **limit), None)
        found = await self._scans.find(query, {"_id": 1}, **time_limit(_MAX_QUERY_MS)).to_list(length=None)
        return Slice([], len(found), None)


class _Batch(NamedTuple):
    """Some documents of a listing.

    Attributes:
        documents: the documents.
        memory: what is counted for them as memory of the call.
    """

    documents: list[Document]
    memory: int

    @classmethod
    def of(cls, documents: list[Document]) -> _Batch:
        """Return documents as a batch."""
        return cls(documents, 2 * size_of(documents))


async def _ahead(batches: AsyncGenerator[_Batch]) -> AsyncGenerator[_Batch]:
    """Yield batches, while the next one is already being read."""
    async with aclosing(batches):
        following = asyncio.create_task(_next(batches))
        try:
            while (batch := await following) is not None:
                following = asyncio.create_task(_next(batches))
                # Begin now, and not when the caller awaits something.
                await asyncio.sleep(0)
                yield batch
        finally:
            # A slice that is being read runs to its end, see ScanSlots.
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _next(batches: AsyncGenerator[_Batch]) -> _Batch | None:
    return await anext(batches, None)
