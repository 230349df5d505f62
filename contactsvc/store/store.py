"""The store of one environment: what the use cases need, as few MongoDB commands as it takes.

No find_one_and_*: on SecantusDB they scan the collection when the filter has more than the id; update, replace and
delete do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import Any, TypeVar

from pymongo.errors import DuplicateKeyError

from contactsvc import chunks, deadlines
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot
from contactsvc.domain.listing import Listing, Page
from contactsvc.errors import EtagMismatch, StoreUnavailable
from contactsvc.service.ports import LostRace, Store
from contactsvc.store import queries
from contactsvc.store.documents import (
    from_document,
    is_contact_method,
    metadata_pair,
    primary_key,
    remembering_only,
    to_records,
    to_requests,
)
from contactsvc.store.driver_errors import CursorLost, duplicates_translated, lost_cursors_translated, translated
from contactsvc.store.drivers import Collection as MongoCollection
from contactsvc.store.drivers import Document, Driver, Session
from contactsvc.store.paging import Paging
from contactsvc.store.transactions import KeyLocks, in_transaction, retried
from contactsvc.store.writes import DocumentWrite, writes_of

T = TypeVar("T")

# How many seconds a stream that ends early waits for the batch that was on its way.
_LAST_BATCH = 1.0
_REMEMBERED: Document = {"requests": 1, "schema_version": 1}


class MongoStore:
    """Contact methods in one MongoDB collection.

    Args:
        collection: where they are.
        driver: opens sessions; None on a deployment without transactions.
        locks: shared by all stores of a process that write to this collection.
        session: the transaction that this store works in, if any.
    """

    def __init__(
        self,
        collection: MongoCollection,
        driver: Driver | None,
        locks: KeyLocks,
        session: Session | None = None,
    ) -> None:
        self._collection = collection
        self._driver = driver
        self._locks = locks
        self._session = session
        # Whether there may be documents of earlier layouts, as far as this store has seen.
        self._may_have_earlier = True

    @property
    def transactional(self) -> bool:
        """Whether `atomically` is atomic."""
        return self._driver is not None

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        return await self._find_one({"_id": id_})

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        return await self._find_any("_id", ids)

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        return await self._find_one({"external_id": external_id})

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        return await self._find_any("external_id", external_ids)

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records that carry the pair."""
        query: Document = {"metadata": metadata_pair(key, value)}
        if client_id is not None:
            query["client_id"] = client_id
        return await self._find_records(query, limit=limit)

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        return next(iter(await self.find_primaries([slot])), None)

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots.

        Primaries of layout 1 may have no key, and a replica of an earlier release may write one at any time; so what
        the key does not find is looked for without it, unless there are no documents of earlier layouts, as an index of
        these says.
        """
        may_have_earlier = self._may_have_earlier
        primaries = await self._find_primaries_by_key(slots)
        if not (left := set(slots) - primaries.keys()):
            return list(primaries.values())
        # A migration that ended between two questions could hide a primary from both. None did when there was nothing
        # to migrate before the first and after it; and none does in a transaction, which sees one moment.
        self._may_have_earlier = bool(await self._find(queries.EARLIER_LAYOUTS, {"_id": 1}, limit=1))
        if self._may_have_earlier or (may_have_earlier and self._session is None):
            earlier = await self._find_records(queries.primaries_without_key(left))
            primaries |= {record.slot: record for record in earlier if record.slot in left}
        return list(primaries.values())

    async def _find_primaries_by_key(self, slots: Collection[Slot]) -> dict[Slot, ContactMethod]:
        found = await self._find_records({"primary_key": queries.any_of([primary_key(slot) for slot in slots])})
        # A release that knows no key leaves it behind when it demotes in two steps.
        return {record.slot: record for record in found if record.is_primary}

    async def find_in_slot(self, slot: Slot) -> list[ContactMethod]:
        """Return all records of the client and type."""
        client_id, type_ = slot
        return await self._find_records({"client_id": client_id, "type": type_.value})

    async def find_of_client(self, client_id: str) -> list[ContactMethod]:
        """Return all records of the client."""
        return await self._find_records({"client_id": client_id})

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        paging = Paging(listing, self._collection.full_name)
        # One more than asked for tells whether there is a next page.
        wanted = listing.page_size + 1
        found: list[Document] = []
        for part in paging.parts:
            found += await self._find(part, sort=paging.keys, skip=listing.offset, limit=wanted - len(found))
            if len(found) == wanted:
                break
        total_size = await self._count(paging.query) if listing.include_total_size else None
        count = paging.fitting(found)
        return await paging.page(found[:count], more=len(found) > count, total_size=total_size)

    async def stream_pages(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield page after page to the end, as they are asked for, holding two at a time; errors as in `find_page`."""
        paging = Paging(listing, self._collection.full_name)
        held: list[Document] = []
        async with aclosing(self._batches(paging, listing.page_size)) as batches:
            async for batch in batches:
                held += batch
                # A page is sent once there is more than it: only then is it known not to be the last.
                while len(held) > (count := paging.fitting(held)):
                    yield await paging.page(held[:count], more=True)
                    held = held[count:]
        while held:
            count = paging.fitting(held)
            yield await paging.page(held[:count], more=len(held) > count)
            held = held[count:]

    async def _batches(self, paging: Paging, size: int) -> AsyncGenerator[list[Document]]:
        """Yield the documents of a listing as they come from the database."""
        parts, last = paging.parts, None
        while (part := next(parts, None)) is not None:
            cursor = self._collection.find(queries.to_read_whole(part)).sort(paging.keys).batch_size(size)
            progress = last
            # The next batch is fetched while this one is on its way to the caller.
            coming = asyncio.create_task(self._next_batch(cursor, size))
            try:
                while batch := await asyncio.shield(coming):
                    last = batch[-1]
                    coming = asyncio.create_task(self._next_batch(cursor, size))
                    # So that the database is asked now, and not when the caller waits for something.
                    await asyncio.sleep(0)
                    yield batch
            except CursorLost:
                # MongoDB drops a cursor that nobody asks for ten minutes, and our caller may read as slowly as that.
                if last is progress:
                    raise StoreUnavailable from None
                parts = paging.parts_after(last)
            finally:
                # No cursor is closed while it is in use; and no error of a batch that nobody wants is of interest.
                await asyncio.wait({coming}, timeout=_LAST_BATCH)
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                await cursor.close()

    async def find_request(self, request_id: str) -> IdempotencyRecord | None:
        """Return the request that is remembered under this id, expired or not."""
        found = await self._find({"request_ids": request_id}, _REMEMBERED)
        requests = (request for document in found for request in to_requests(document))
        return next((request for request in requests if request.mark.id == request_id), None)

    async def find_memories(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return what is remembered under the ids of deleted records, by id."""
        found = await self._find({"_id": queries.any_of(list(ids))}, {**_REMEMBERED, "client_id": 1})
        return {document["_id"]: to_requests(document) for document in found if not is_contact_method(document)}

    async def forget(self, request: IdempotencyRecord) -> None:
        """Forget this request, if it is still remembered; not a later one under the same id."""
        for document in await self._find({"request_ids": request.mark.id}, _REMEMBERED):
            remembered = to_requests(document)
            left = tuple(other for other in remembered if (other.mark, other.at) != (request.mark, request.at))
            if len(left) == len(remembered):
                continue
            with self._translated():
                # Only as it was read: meanwhile another caller may have come to the same end, and begun anew.
                await self._collection.update_one(
                    {"_id": document["_id"], "requests": document["requests"]}, remembering_only(left)
                )

    async def forget_expired(self, now: datetime) -> None:
        """Remove what only remembers requests, and need not any more."""
        with self._translated():
            await self._collection.delete_many({"forget_at": {"$lt": now}})

    async def write(self, difference: ChangeSet) -> None:
        """Store a difference; one of several documents only inside `atomically`."""
        steps = writes_of(difference)
        with self._translated(), duplicates_translated():
            if self._session is not None:
                result = await self._collection.bulk_write([step.bulk() for step in steps], session=self._session)
                if result.inserted_count + result.matched_count + result.deleted_count != len(steps):
                    raise LostRace(EtagMismatch())
                return
            # Without a driver there are no transactions to wait for.
            async with self._driver.writers if self._driver else nullcontext():
                # Nobody waits for a write that would begin after the deadline.
                deadlines.remaining_ms()
                await self._write_one_by_one(steps)

    async def _write_one_by_one(self, steps: Sequence[DocumentWrite]) -> None:
        """Take the steps without a transaction, and take them back when one of them fails.

        mongomock knows no bulk writes, and without a transaction they would promise no more than this.
        """
        taken: list[DocumentWrite] = []
        try:
            for step in steps:
                if not await step.apply(self._collection):
                    raise LostRace(EtagMismatch())
                taken.append(step)
        except (LostRace, DuplicateKeyError):
            for step in reversed(taken):
                # Whoever has changed the record or taken its place since was later than this, and stays.
                with suppress(DuplicateKeyError):
                    await step.revert(self._collection)
            raise

    async def atomically(self, work: Callable[[Store], Awaitable[T]], *, keys: Collection[Hashable]) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race."""

        async def once() -> T:
            if self._driver is None:
                return await work(self)
            return await in_transaction(self._driver, lambda session: work(self._within(session)))

        async with self._locks.held(keys):
            with self._translated():
                return await retried(once)

    def _within(self, session: Session) -> MongoStore:
        return MongoStore(self._collection, self._driver, self._locks, session)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate driver errors; in a transaction leave that to its end, which retries by what the driver says."""
        if self._session is not None:
            yield
        else:
            with translated():
                yield

    async def _next_batch(self, cursor: Any, size: int) -> list[Document]:
        with translated(), lost_cursors_translated():
            found: list[Document] = await cursor.to_list(length=size)
        return found

    async def _find_one(self, query: Document) -> ContactMethod | None:
        with self._translated():
            document = await self._collection.find_one(query, session=self._session, **_in_time())
        return None if document is None else next(iter(to_records([document])), None)

    async def _find_any(self, field: str, wanted: Collection[str]) -> list[ContactMethod]:
        """Return the records in which a field that only one record can have is one of these."""
        if len(wanted) == 1:
            # Motor takes longer over a cursor.
            (value,) = wanted
            record = await self._find_one({field: value})
            return [] if record is None else [record]
        return await self._find_records({field: queries.any_of(list(wanted))})

    async def _find_records(self, query: Document, *, limit: int = 0) -> list[ContactMethod]:
        documents = await self._find(query, limit=limit)
        return await chunks.map_yielding(
            from_document, [document for document in documents if is_contact_method(document)]
        )

    async def _find(
        self,
        query: Document,
        projection: Document | None = None,
        *,
        sort: Sequence[tuple[str, int]] = (),
        skip: int = 0,
        limit: int = 0,
    ) -> list[Document]:
        with self._translated():
            cursor = self._collection.find(query, projection, session=self._session, **_in_time())
            cursor = cursor.skip(skip).limit(limit)
            if sort:
                cursor = cursor.sort(list(sort))
            return await cursor.to_list(length=None)

    async def _count(self, query: Document) -> int:
        with self._translated():
            limit = {"maxTimeMS": left} if (left := deadlines.remaining_ms()) else {}
            return await self._collection.count_documents(query, session=self._session, **limit)


def _in_time() -> dict[str, Any]:
    """Return the option that makes the database stop a query when the call's deadline has passed.

    Not pymongo.timeout: it does not reach Motor's threads.
    """
    left = deadlines.remaining_ms()
    return {} if left is None else {"max_time_ms": left}
